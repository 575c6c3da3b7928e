'use strict';

// Connections break, and the call goes on.

const { experienceOf } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { setStage } = require('../support/stage.js');

const stage = setStage();
const { join, newRoom } = stage;
const BREAK_MS = 90_000;
/** The client itself waits between its tries; it finds out that a server is silent when no answer to a ping comes for 15 s. */
const BACK = { within: 45_000 };
const ways = [{ singlePeerConnection: true }, { singlePeerConnection: false }];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** Two who see and hear each other. @param {{ options?: object, browser?: import('../../test-support/browser.js').Kind }} [how] Of the first. */
async function startCall(how) {
  const room = newRoom();
  /** @type {import('../support/stage.js').Joining} */
  const joining = { room, identity: 'ben', publish: ['camera', 'microphone'] };
  const [ann, ben] = await Promise.all([join({ ...joining, identity: 'ann', ...how }), join(joining)]);
  await goOn(ann, ben);
  return { room, ann, ben, sid: (await ann.state()).me.sid };
}

/** @param {Participant} ann @param {Participant} ben */
async function goOn(ann, ben) {
  await Promise.all([ann.seesAndHears('ben', BACK), ben.seesAndHears('ann', BACK)]);
}

/** @param {Participant} who @param {string} scenario @param {unknown[]} args */
const simulates = (who, scenario, ...args) => who.run((here, ...args) => here.room.simulateScenario(...args), scenario, ...args);

/** @param {Participant} who @param {string} sid */
const resumes = async (who, sid) => {
  await who.lives(['reconnected'], BACK);
  expect(await who.state()).toMatchObject({ state: 'connected', me: { sid } });
};

/** @param {Participant} who @param {string} sid Before. */
const comesBackAnew = (who, sid) => who.knows({ state: 'connected', me: { sid: expect.not.same(sid) } }, BACK);

test.each([...ways.map((options) => ({ options })), { browser: /** @type {const} */ ('firefox') }])(
  'whose signalling is cut resumes, and nobody notices: %j',
  async (how) => {
    const { ann, ben, sid } = await startCall(how);
    const before = await ben.events();
    await ann.run((here) => here.cutSignal());
    await resumes(ann, sid);
    await goOn(ann, ben);
    const since = (await ben.events()).slice(before.length);
    expect(since.filter((event) => /^(participant|track)/.test(event))).toEqual([]);
    await ann.mutes('camera');
    await ben.knowsOf('ann', { tracks: { camera: { isMuted: true } } });
  },
  BREAK_MS,
);

test(
  'what is published and what is left while somebody resumes is known to it then',
  async () => {
    const { room, ann, ben, sid } = await startCall();
    const cas = await join({ room, identity: 'cas', publish: ['camera'] });
    await ann.seesVideoOf('cas');
    await ann.page.setOfflineMode(true);
    await ann.run((here) => here.cutSignal());
    await ann.lives(['signalReconnecting'], BACK);
    await cas.leaves();
    await ben.missesNobodyBut('cas');
    await ben.unpublishes('microphone');
    await ben.publishes({ what: 'sound', options: { name: 'sound' } });
    await ann.page.setOfflineMode(false);
    await resumes(ann, sid);
    await ann.hears('ben', 'sound', BACK);
    await ann.seesVideoOf('ben', 'camera', BACK);
    await ann.missesTracksOf('ben', ['microphone']);
    const isThere = experienceOf('who leaves while another resumes', 'is there for it', stage.kind);
    expect(isThere).toContain(Object.keys((await ann.state()).others).includes('cas'));
  },
  BREAK_MS,
);

test(
  'what an answer was lost for is seen after the resume, over two peer connections',
  async () => {
    const { ann, ben, sid } = await startCall({ options: ways[1] });
    await ann.run((here) => here.loseAnswers(true));
    await ben.publishes({ what: 'paint', capture: { colour: 'lime' }, options: { name: 'paint', simulcast: false } });
    await eventually('an answer is lost', () => ann.run((here) => here.lost), (lost) => expect(lost).toBeGreaterThan(0));
    await ann.run((here) => {
      here.cutSignal();
      here.loseAnswers(false);
    });
    await resumes(ann, sid);
    await ann.seesVideoOf('ben', 'paint', BACK);
    await goOn(ann, ben);
    expect(await ann.state()).toMatchObject({ me: { sid } });
  },
  BREAK_MS,
);

test.each(['signal-reconnect', 'disconnect-signal-on-resume', 'disconnect-signal-on-resume-no-messages'])(
  'after %s the same session goes on',
  async (scenario) => {
    const { ann, ben, sid } = await startCall();
    await simulates(ann, scenario);
    await resumes(ann, sid);
    await goOn(ann, ben);
  },
  BREAK_MS,
);

test.each([
  ['resume-reconnect', ways[0]],
  ['full-reconnect', ways[0]],
  ['full-reconnect', ways[1]],
  ['node-failure', ways[0]],
  ['migration', ways[0]],
  ['force-tcp', ways[0]],
])(
  'after %s the call goes on, with %j',
  async (scenario, options) => {
    const { ann, ben, sid } = await startCall({ options });
    await simulates(ann, scenario);
    if (scenario === 'resume-reconnect') await ann.lives(['reconnected'], BACK);
    else await comesBackAnew(ann, sid);
    await goOn(ann, ben);
  },
  BREAK_MS,
);

test(
  'after force-tcp media goes over TCP',
  async () => {
    const { ann, ben, sid } = await startCall();
    expect(await ann.run((here) => here.path())).toMatchObject({ protocol: 'udp' });
    await simulates(ann, 'force-tcp');
    await comesBackAnew(ann, sid);
    await goOn(ann, ben);
    expect(await ann.run((here) => here.path())).toMatchObject({ protocol: 'tcp' });
  },
  BREAK_MS,
);

test.each([['subscriber-bandwidth', 100_000_000], ['leave-full-reconnect']])(
  '%s changes nothing where there is bandwidth for all',
  async (scenario, ...args) => {
    const { ann, ben, sid } = await startCall();
    await simulates(ann, scenario, ...args);
    await goOn(ann, ben);
    expect(await ann.state()).toMatchObject({ state: 'connected', me: { sid } });
  },
  BREAK_MS,
);

test('server-leave ends it for good', async () => {
  const { ann, ben } = await startCall();
  await simulates(ann, 'server-leave');
  await ann.lives(['disconnected SERVER_SHUTDOWN']);
  await ben.missesNobodyBut('ann');
});

test('speaker makes whoever asks for it an active speaker for a while, for itself and for those who are sent its tracks', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.seesVideoOf('ann');
  await simulates(ann, 'speaker');
  for (const who of [ann, ben]) await who.lives(['activeSpeakersChanged ann']);
  for (const who of [ann, ben]) await who.knows({ activeSpeakers: [] });
});

test(
  'who was without a network for a while is back in the call',
  async () => {
    const { ann, ben } = await startCall();
    await ann.page.setOfflineMode(true);
    await ann.run((here) => here.cutSignal());
    await ann.lives(['signalReconnecting'], BACK);
    await ann.page.setOfflineMode(false);
    await ann.lives(['reconnected'], BACK);
    await goOn(ann, ben);
  },
  BREAK_MS,
);
