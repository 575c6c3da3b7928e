'use strict';

// What people in a call see, hear and may do, wherever its rooms live.

const { STORY_MS, serveWith, setHouse } = require('../support/house.js');

/**
 * @param {import('../support/house.js').Browsers} browsers
 * @param {import('../../../test-support/example-server.js').Name} name
 * @param {import('../support/house.js').Provider} provider
 */
function describeCalls(browsers, name, provider) {
  const house = setHouse(browsers, serveWith(name, provider));

  it('two browsers see, hear and read each other, and the lobby of a third tells who is there', async () => {
    const huddle = house.newHuddle();
    const [ann, ben, cat] = await Promise.all([house.visitor('Ann'), house.visitor('Ben', 'firefox'), house.visitor('Cat')]);
    await cat.sees({ nobody: true });
    await ann.joins(huddle);
    await cat.seesInLobby(huddle, 'Ann');
    await ben.joins(huddle);
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await Promise.all([ann.seesPeople('Ann (you)', 'Ben'), ben.seesPeople('Ann', 'Ben (you)')]);
    await Promise.all([ann.seesVideoOf('Ben'), ben.seesVideoOf('Ann'), ann.seesVideoOf('Ann (you)')]);
    await Promise.all([ann.hearsSomebody(), ben.hearsSomebody()]);
    // Firefox's microphone hums without end.
    await ann.finds('Ben speaks', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ben', isSpeaking: true })));
    await ann.says('hello, Ben');
    await ben.reads('hello, Ben');
    await ben.says('hello, Ann');
    await ann.reads('hello, Ann');

    await ann.presses('Mute');
    await ben.finds('Ann is muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: true })));
    await ann.presses('Stop camera');
    await ben.finds('no picture of Ann', ({ people }) => expect(people.find(({ name }) => name === 'Ann')?.picture).toBeUndefined());
    await ann.presses('Start camera');
    await ben.seesVideoOf('Ann');
    await ann.presses('Share screen');
    await ben.seesVideoOf('Screen of Ann', 'screens');
    await ann.presses('Stop sharing');
    await ben.sees({ screens: [] });

    await ben.presses('Leave');
    await ben.isTold('You left');
    await ann.seesPeople('Ann (you)');
    await cat.seesInLobby(huddle, 'Ann');
    await ann.page.close();
    await cat.seesInLobby(huddle);
    await ben.follows('Back to the lobby');
    await ben.sees({ path: '/', boxes: ['Huddle name'] });
  }, STORY_MS);

  it('whoever comes to listen sees and hears, and can send nothing', async () => {
    const huddle = house.newHuddle();
    const [ann, lea] = await Promise.all([house.visitor('Ann'), house.visitor('Lea', 'firefox')]);
    await ann.joins(huddle);
    await lea.finds('the huddle in the lobby', ({ links }) => expect(links).toEqual(expect.arrayContaining([`Join ${huddle}`, `Listen to ${huddle}`])));
    await lea.follows(`Listen to ${huddle}`);
    await lea.finds('a seat', ({ text, people }) => {
      expect(text).toContain('You are listening');
      expect(people.map(({ name }) => name)).toContain('Ann');
    });
    await lea.seesVideoOf('Ann');
    const { buttons, path } = await lea.look();
    expect(path).toBe(`/huddles/${huddle}?listen`);
    expect(buttons.filter((button) => /Mute|camera|Share|Remove|End/.test(button))).toEqual([]);
    await lea.tells(ann, 'well spoken');

    const { participants } = await house.ask('ListParticipants', huddle);
    const may = (name) => participants.find((participant) => participant.name === name);
    expect(may('Lea')).toMatchObject({ permission: expect.not.objectContaining({ can_publish: true }), tracks: [] });
    expect(may('Ann')).toMatchObject({ permission: { can_publish: true } });
    for (const answer of [await lea.asks(`/api/huddles/${huddle}/end`), await lea.asks(`/api/huddles/${huddle}/remove`, { identity: may('Ann').identity })]) {
      expect(answer).toMatchObject({ status: 403 });
    }
    await ann.isIn(huddle);
  }, STORY_MS);

  it('a second tab takes the call over from the first; who is removed is told, and may come back', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.visitor('Ann'), house.visitor('Ben', 'firefox')]);
    await Promise.all([ann.joins(huddle), ben.joins(huddle)]);
    const again = await ben.opensAnotherTab();
    await again.comesTo(huddle);
    await ben.isTold('You joined from another tab');
    await ann.seesPeople('Ann (you)', 'Ben');
    await ann.seesVideoOf('Ben');
    await again.closesTab();

    await ben.presses('Join again');
    await ben.isIn(huddle);
    await ann.seesVideoOf('Ben');
    await ann.presses('Remove Ben');
    await ben.isTold('You were removed');
    await ann.seesPeople('Ann (you)');
    await ben.presses('Join again');
    await ben.isIn(huddle);
    await ben.seesVideoOf('Ann');
  }, STORY_MS);

  it('whoever has no camera is told so, and is heard', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.visitor('Ann'), house.visitor('Ben')]);
    await ann.joins(huddle);
    await ben.hasNoCamera();
    await ben.opens(`/huddles/${huddle}`);
    await ben.finds('what is missing', ({ status, buttons }) => {
      expect(status.join(' ')).toContain('No camera or microphone was found.');
      expect(buttons).toEqual(expect.arrayContaining(['Mute', 'Start camera']));
    });
    await ann.hearsSomebody();
    await ann.finds('Ben, who is not muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ben', isMuted: false })));
    await ben.presses('Close');
    await ben.finds('no notice', ({ status }) => expect(status).toEqual([]));
  }, STORY_MS);

  it('whoever leaves while the browser still asks is not filmed after', async () => {
    const ann = await house.visitor('Ann');
    await ann.isAskedForDevices();
    await ann.opens(`/huddles/${house.newHuddle()}`);
    await ann.finds('the question', ({ isAsked, buttons }) => {
      expect(isAsked).toBe(true);
      expect(buttons).toContain('Leave');
    });
    await ann.presses('Leave');
    await ann.isTold('You left');
    await ann.allows();
    await ann.sees({ given: ['ended', 'ended'] });
  }, STORY_MS);

  it('two tabs of one browser are in a call, under two names', async () => {
    const huddle = house.newHuddle();
    const ann = await house.visitor('Ann');
    await ann.joins(huddle);
    const ben = await ann.opensAnotherTab();
    ben.name = 'Ben';
    await ben.opens('/');
    await ben.presses('Sign out');
    await ben.sees({ boxes: ['Your name'] });
    await ben.signsIn();
    await ben.joins(huddle);
    await ben.seesVideoOf('Ann');
    await ann.seesPeople('Ann (you)', 'Ben');
  }, STORY_MS);

  it('a connection that breaks is told, and the call goes on when it is back', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.visitor('Ann', 'firefox'), house.visitor('Ben')]);
    await Promise.all([ann.joins(huddle), ben.joins(huddle)]);
    await ben.losesConnection();
    await ben.finds('the banner', ({ status }) => expect(status).toContain('Connection lost. Reconnecting…'));
    await ben.getsConnection();
    await ben.finds('no banner', ({ status }) => expect(status).not.toContain('Connection lost. Reconnecting…'), 60_000);
    await Promise.all([ben.seesVideoOf('Ann'), ann.seesVideoOf('Ben')]);
    await ann.says('still there?');
    await ben.reads('still there?');
  }, STORY_MS);

  it('whoever ends the huddle is asked, and then ends it for everyone', async () => {
    const huddle = house.newHuddle();
    const [ann, ben, cat] = await Promise.all([house.visitor('Ann'), house.visitor('Ben', 'firefox'), house.visitor('Cat')]);
    await Promise.all([ann.joins(huddle), ben.joins(huddle)]);
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await ann.presses('End for everyone');
    await ann.presses('Cancel');
    await ann.finds('no question', ({ buttons }) => expect(buttons).not.toContain('End the huddle'));
    await ann.seesVideoOf('Ben');
    await ann.presses('End for everyone');
    await ann.presses('End the huddle');
    await Promise.all([ann.isTold('The huddle has ended'), ben.isTold('The huddle has ended'), cat.seesInLobby(huddle)]);
  }, STORY_MS);
}

module.exports = { describeCalls };
