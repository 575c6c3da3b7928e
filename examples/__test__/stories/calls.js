'use strict';

// Calls: media, chat, roles and reconnects.

const { STORY_MS, serveWith, useApp } = require('../support/use-app.js');

/**
 * @param {import('../support/use-app.js').Browsers} browsers
 * @param {import('../../../test-support/example-server.js').Name} name
 * @param {import('../support/use-app.js').Provider} provider
 * @param {boolean} isFull All stories; else the first one.
 */
function describeCalls(browsers, name, provider, isFull) {
  const suite = useApp(browsers, serveWith(name, provider));

  it('two visitors receive media and messages of each other, and the lobby of a third lists them', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben, cat] = await Promise.all([suite.visitor('Ann'), suite.visitor('Ben', 'firefox'), suite.visitor('Cat')]);
    await cat.hasState({ isEmpty: true });
    await ann.join(huddle);
    await cat.seesInLobby(huddle, 'Ann');
    await ben.join(huddle);
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await Promise.all([ann.hasParticipants('Ann (you)', 'Ben'), ben.hasParticipants('Ann', 'Ben (you)')]);
    await Promise.all([ann.receivesVideoOf('Ben'), ben.receivesVideoOf('Ann'), ann.receivesVideoOf('Ann (you)')]);
    await Promise.all([ann.receivesAudio(), ben.receivesAudio()]);
    // Firefox's fake microphone is never silent. Chromium's beeps may be too short for an active speaker.
    if (!process.env.TEST_CHROMIUM_ONLY) await ann.waitFor('Ben to be speaking', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ben', isSpeaking: true })));
    await ann.sendMessage('hello, Ben');
    await ben.receivesMessage('hello, Ben');
    await ben.sendMessage('hello, Ann');
    await ann.receivesMessage('hello, Ann');

    await ann.press('Mute');
    await ben.waitFor('Ann to be muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: true })));
    await ann.press('Stop camera');
    await ben.waitFor('the end of Ann’s video', ({ people }) => expect(people.find(({ name }) => name === 'Ann')?.picture).toBeUndefined());
    await ann.press('Start camera');
    await ben.receivesVideoOf('Ann');
    await ann.press('Share screen');
    await ben.receivesVideoOf('Screen of Ann', 'screens');
    await ann.press('Stop sharing');
    await ben.hasState({ screens: [] });

    await ben.press('Leave');
    await ben.hasHeading('You left');
    await ann.hasParticipants('Ann (you)');
    await cat.seesInLobby(huddle, 'Ann');
    await ann.page.close();
    await cat.seesInLobby(huddle);
    await ben.follow('Back to the lobby');
    await ben.hasState({ path: '/', boxes: ['Huddle name'] });
  }, STORY_MS);

  if (!isFull) return;

  it('a listener receives media, and can only send messages', async () => {
    const huddle = suite.newHuddle();
    const [ann, lea] = await Promise.all([suite.visitor('Ann'), suite.visitor('Lea', 'firefox')]);
    await ann.join(huddle);
    await lea.waitFor('the huddle in the lobby', ({ links }) => expect(links).toEqual(expect.arrayContaining([`Join ${huddle}`, `Listen to ${huddle}`])));
    await lea.follow(`Listen to ${huddle}`);
    await lea.waitFor('the call', ({ text, people }) => {
      expect(text).toContain('You are listening');
      expect(people.map(({ name }) => name)).toContain('Ann');
    });
    await lea.receivesVideoOf('Ann');
    const { buttons, path } = await lea.look();
    expect(path).toBe(`/huddles/${huddle}?listen`);
    expect(buttons.filter((button) => /Mute|camera|Share|Remove|End/.test(button))).toEqual([]);
    await lea.sendMessageTo(ann, 'well spoken');

    const { participants } = await suite.callApi('ListParticipants', huddle);
    const participant = (name) => participants.find((each) => each.name === name);
    expect(participant('Lea')).toMatchObject({ permission: expect.not.objectContaining({ can_publish: true }), tracks: [] });
    expect(participant('Ann')).toMatchObject({ permission: { can_publish: true } });
    for (const response of [await lea.post(`/api/huddles/${huddle}/end`), await lea.post(`/api/huddles/${huddle}/remove`, { identity: participant('Ann').identity })]) {
      expect(response).toMatchObject({ status: 403 });
    }
    await ann.isIn(huddle);
  }, STORY_MS);

  it('a second tab replaces the first one; a removed visitor sees why, and can join again', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.visitor('Ann'), suite.visitor('Ben', 'firefox')]);
    await Promise.all([ann.join(huddle), ben.join(huddle)]);
    const again = await ben.openTab();
    await again.openHuddle(huddle);
    await ben.hasHeading('You joined from another tab');
    await ann.hasParticipants('Ann (you)', 'Ben');
    await ann.receivesVideoOf('Ben');
    await again.closeTab();

    await ben.press('Join again');
    await ben.isIn(huddle);
    await ann.receivesVideoOf('Ben');
    await ann.press('Remove Ben');
    await ben.hasHeading('You were removed');
    await ann.hasParticipants('Ann (you)');
    await ben.press('Join again');
    await ben.isIn(huddle);
    await ben.receivesVideoOf('Ann');
  }, STORY_MS);

  it('a visitor without a camera sees a notice, and publishes audio', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.visitor('Ann'), suite.visitor('Ben')]);
    await ann.join(huddle);
    await ben.removeCamera();
    await ben.goTo(`/huddles/${huddle}`);
    await ben.waitFor('the notice', ({ status, buttons }) => {
      expect(status.join(' ')).toContain('No camera or microphone was found.');
      expect(buttons).toEqual(expect.arrayContaining(['Mute', 'Start camera']));
    });
    await ann.receivesAudio();
    await ann.waitFor('Ben to be unmuted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ben', isMuted: false })));
    await ben.press('Close');
    await ben.waitFor('no notice', ({ status }) => expect(status).toEqual([]));
  }, STORY_MS);

  it('devices that are granted after the visitor left are stopped', async () => {
    const ann = await suite.visitor('Ann');
    await ann.delayDevices();
    await ann.goTo(`/huddles/${suite.newHuddle()}`);
    await ann.waitFor('the request for devices', ({ isAwaitingDevices, buttons }) => {
      expect(isAwaitingDevices).toBe(true);
      expect(buttons).toContain('Leave');
    });
    await ann.press('Leave');
    await ann.hasHeading('You left');
    await ann.grantDevices();
    await ann.hasState({ devices: ['ended', 'ended'] });
  }, STORY_MS);

  it('two tabs of one browser are in a call with two names', async () => {
    const huddle = suite.newHuddle();
    const ann = await suite.visitor('Ann');
    await ann.join(huddle);
    const ben = await ann.openTab();
    ben.name = 'Ben';
    await ben.goTo('/');
    await ben.press('Sign out');
    await ben.hasState({ boxes: ['Your name'] });
    await ben.signIn();
    await ben.join(huddle);
    await ben.receivesVideoOf('Ann');
    await ann.hasParticipants('Ann (you)', 'Ben');
  }, STORY_MS);

  it('a broken connection shows a banner, and the call continues after it is restored', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.visitor('Ann', 'firefox'), suite.visitor('Ben')]);
    await Promise.all([ann.join(huddle), ben.join(huddle)]);
    await ben.cutSignal();
    await ben.waitFor('the banner', ({ status }) => expect(status).toContain('Connection lost. Reconnecting…'));
    await ben.restoreSignal();
    await ben.waitFor('no banner', ({ status }) => expect(status).not.toContain('Connection lost. Reconnecting…'), 60_000);
    await Promise.all([ben.receivesVideoOf('Ann'), ann.receivesVideoOf('Ben')]);
    await ann.sendMessage('still connected?');
    await ben.receivesMessage('still connected?');
  }, STORY_MS);

  it('ending the huddle needs a confirmation, and ends it for all', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben, cat] = await Promise.all([suite.visitor('Ann'), suite.visitor('Ben', 'firefox'), suite.visitor('Cat')]);
    await Promise.all([ann.join(huddle), ben.join(huddle)]);
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await ann.press('End for everyone');
    await ann.press('Cancel');
    await ann.waitFor('the end of the confirmation', ({ buttons }) => expect(buttons).not.toContain('End the huddle'));
    await ann.receivesVideoOf('Ben');
    await ann.press('End for everyone');
    await ann.press('End the huddle');
    await Promise.all([ann.hasHeading('The huddle has ended'), ben.hasHeading('The huddle has ended'), cat.seesInLobby(huddle)]);
  }, STORY_MS);
}

module.exports = { describeCalls };
