'use strict';

// Connections that break, and calls that continue.

const { expectedInSession } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { useBrowsers } = require('../support/use-browsers.js');

const suite = useBrowsers();
const { join, newRoom } = suite;
const BREAK_MS = 90_000;
/** livekit-client waits between its attempts, and notices a silent server after 15 s without a pong. */
const BACK = { within: 45_000 };
const connections = [{ singlePeerConnection: true }, { singlePeerConnection: false }];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** Starts a call of two participants that receive each other. @param {{ options?: object, browser?: import('../../test-support/browser.js').Kind }} [how] Options of the first. */
async function startCall(how) {
  const room = newRoom();
  /** @type {import('../support/use-browsers.js').JoinOptions} */
  const joining = { room, identity: 'ben', publish: ['camera', 'microphone'] };
  const [ann, ben] = await Promise.all([join({ ...joining, identity: 'ann', ...how }), join(joining)]);
  await receiveEachOther(ann, ben);
  return { room, ann, ben, sid: (await ann.state()).me.sid };
}

/** @param {Participant} ann @param {Participant} ben */
async function receiveEachOther(ann, ben) {
  await Promise.all([ann.receivesMediaOf('ben', BACK), ben.receivesMediaOf('ann', BACK)]);
}

/** @param {Participant} participant @param {string} scenario @param {unknown[]} args */
const simulate = (participant, scenario, ...args) => participant.run((here, ...args) => here.room.simulateScenario(...args), scenario, ...args);

/** @param {Participant} participant @param {string} sid */
const expectResumed = async (participant, sid) => {
  await participant.hasEvents(['reconnected'], BACK);
  expect(await participant.state()).toMatchObject({ state: 'connected', me: { sid } });
};

/** @param {Participant} participant @param {string} sid Before. */
const expectNewSession = (participant, sid) => participant.seesState({ state: 'connected', me: { sid: expect.not.same(sid) } }, BACK);

test.each([...connections.map((options) => ({ options })), { browser: /** @type {const} */ ('firefox') }])(
  'a participant whose signal connection breaks resumes, and the others receive no update: %j',
  async (how) => {
    const { ann, ben, sid } = await startCall(how);
    const before = await ben.events();
    await ann.run((here) => here.cutSignal());
    await expectResumed(ann, sid);
    await receiveEachOther(ann, ben);
    const since = (await ben.events()).slice(before.length);
    expect(since.filter((event) => /^(participant|track)/.test(event))).toEqual([]);
    await ann.mute('camera');
    await ben.seesStateOf('ann', { tracks: { camera: { isMuted: true } } });
  },
  BREAK_MS,
);

test(
  'a participant that resumes receives what was published and unpublished meanwhile',
  async () => {
    const { room, ann, ben, sid } = await startCall();
    const cas = await join({ room, identity: 'cas', publish: ['camera'] });
    await ann.receivesVideoOf('cas');
    await ann.page.setOfflineMode(true);
    await ann.run((here) => here.cutSignal());
    await ann.hasEvents(['signalReconnecting'], BACK);
    await cas.leave();
    await ben.hasLost('cas');
    await ben.unpublish('microphone');
    await ben.publish({ what: 'sound', options: { name: 'sound' } });
    await ann.page.setOfflineMode(false);
    await expectResumed(ann, sid);
    await ann.receivesAudioOf('ben', 'sound', BACK);
    await ann.receivesVideoOf('ben', 'camera', BACK);
    await ann.hasLostTracksOf('ben', ['microphone']);
    const isListed = expectedInSession('participant that leaves while another one resumes', 'still listed', suite.kind);
    if (isListed !== undefined) expect(Object.keys((await ann.state()).others).includes('cas')).toBe(isListed);
  },
  BREAK_MS,
);

test(
  'a track whose SDP answer was lost is received after the resume, over two peer connections',
  async () => {
    const { ann, ben, sid } = await startCall({ options: connections[1] });
    await ann.run((here) => here.dropAnswers(true));
    await ben.publish({ what: 'paint', capture: { colour: 'lime' }, options: { name: 'paint', simulcast: false } });
    await eventually('an answer is lost', () => ann.run((here) => here.lost), (lost) => expect(lost).toBeGreaterThan(0));
    await ann.run((here) => {
      here.cutSignal();
      here.dropAnswers(false);
    });
    await expectResumed(ann, sid);
    await ann.receivesVideoOf('ben', 'paint', BACK);
    await receiveEachOther(ann, ben);
    expect(await ann.state()).toMatchObject({ me: { sid } });
  },
  BREAK_MS,
);

test.each(['signal-reconnect', 'disconnect-signal-on-resume', 'disconnect-signal-on-resume-no-messages'])(
  'after %s the participant keeps its session',
  async (scenario) => {
    const { ann, ben, sid } = await startCall();
    await simulate(ann, scenario);
    await expectResumed(ann, sid);
    await receiveEachOther(ann, ben);
  },
  BREAK_MS,
);

test.each([
  ['resume-reconnect', connections[0]],
  ['full-reconnect', connections[0]],
  ['full-reconnect', connections[1]],
  ['node-failure', connections[0]],
  ['migration', connections[0]],
])(
  'after %s the call continues, with %j',
  async (scenario, options) => {
    const { ann, ben, sid } = await startCall({ options });
    await simulate(ann, scenario);
    if (scenario === 'resume-reconnect') await ann.hasEvents(['reconnected'], BACK);
    else await expectNewSession(ann, sid);
    await receiveEachOther(ann, ben);
  },
  BREAK_MS,
);

test(
  'after force-tcp the call continues, and media uses TCP',
  async () => {
    const { ann, ben, sid } = await startCall();
    expect(await ann.run((here) => here.path())).toMatchObject({ protocol: 'udp' });
    await simulate(ann, 'force-tcp');
    await expectNewSession(ann, sid);
    await receiveEachOther(ann, ben);
    expect(await ann.run((here) => here.path())).toMatchObject({ protocol: 'tcp' });
  },
  BREAK_MS,
);

test.each([['subscriber-bandwidth', 100_000_000], ['leave-full-reconnect']])(
  '%s does not interrupt the call',
  async (scenario, ...args) => {
    const { ann, ben, sid } = await startCall();
    await simulate(ann, scenario, ...args);
    await receiveEachOther(ann, ben);
    expect(await ann.state()).toMatchObject({ state: 'connected', me: { sid } });
  },
  BREAK_MS,
);

test('after server-leave the participant is disconnected, and leaves the room', async () => {
  const { ann, ben } = await startCall();
  await simulate(ann, 'server-leave');
  await ann.hasEvents(['disconnected SERVER_SHUTDOWN']);
  await ben.hasLost('ann');
});

test('speaker makes the participant an active speaker for a while, for itself and for its subscribers', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.receivesVideoOf('ann');
  await simulate(ann, 'speaker');
  for (const participant of [ann, ben]) await participant.hasEvents(['activeSpeakersChanged ann']);
  for (const participant of [ann, ben]) await participant.seesState({ activeSpeakers: [] });
});

test(
  'a participant that was offline for a while returns to the call',
  async () => {
    const { ann, ben } = await startCall();
    await ann.page.setOfflineMode(true);
    await ann.run((here) => here.cutSignal());
    await ann.hasEvents(['signalReconnecting'], BACK);
    await ann.page.setOfflineMode(false);
    await ann.hasEvents(['reconnected'], BACK);
    await receiveEachOther(ann, ben);
  },
  BREAK_MS,
);
