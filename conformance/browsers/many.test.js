'use strict';

// Participants that join later, and rooms of several.

const { eventually } = require('../../test-support/eventually.js');
const { camera, paint, sound } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { join, newRoom } = useBrowsers();
const [much, little] = [expect.atLeast(150), expect.atMost(100)];
const SMALL_CAMERA = { resolution: { width: 160, height: 90, frameRate: 5 } };
const MANY = 6;
const MANY_MS = 300_000;
/** A tone of 100 ms per second: with DTX it takes a tenth of the packets of a microphone. */
const BEEP = sound({ source: 'microphone', dtx: true }, { part: 0.1 });
/** Two cores encode and decode 72 tracks. */
const SLOWLY = { within: 120_000 };
/** livekit-client's default of 15 s can be too short on a busy machine. */
const PATIENT = { peerConnectionTimeout: 60_000 };

test('a participant that joins late receives the tracks of the others', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
  await ben.receivesVideoOf('ann');
  const cas = await join({ room, identity: 'cas' });
  for (const other of [ann, ben]) {
    await cas.receivesMediaOf(other.identity);
  }
});

test('a participant that joins late receives a video that changes once in four seconds', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [{ ...paint('lime'), capture: { colour: 'lime', fps: 0.25 } }] });
  for (const identity of ['ben', 'cas']) {
    const guest = await join({ room, identity });
    const look = () => guest.watch('ann', 'paint');
    await eventually(`${identity} receives the picture`, look, ({ colour }) => expect(colour).toEqual([little, much, little]));
  }
});

test('a participant that joins late over two peer connections receives the tracks of the others', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const cas = await join({ room, identity: 'cas', options: { singlePeerConnection: false } });
  await cas.receivesMediaOf('ann');
});

test('a participant that joins late in Firefox receives the tracks of the others', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
  const cas = await join({ room, identity: 'cas', browser: 'firefox' });
  for (const other of ['ann', 'ben']) {
    await cas.receivesMediaOf(other);
  }
});

test('a participant that leaves and joins again receives and publishes tracks as before', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  for (let time = 1; time <= 3; time += 1) {
    const ben = await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
    await ann.receivesVideoOf('ben');
    await ben.receivesMediaOf('ann');
    await ben.leave();
    await ann.hasLost('ben');
  }
});

test(
  `${MANY} participants all receive each other`,
  async () => {
    const room = newRoom();
    const names = Array.from({ length: MANY }, (_, index) => `guest-${index}`);
    const publish = [camera({}, SMALL_CAMERA), BEEP];
    const all = await Promise.all(names.map((identity) => join({ room, identity, connect: PATIENT, publish })));
    for (const guest of all) {
      const others = names.filter((name) => name !== guest.identity);
      await Promise.all(others.map((name) => guest.receivesMediaOf(name, SLOWLY)));
    }
  },
  MANY_MS,
);
