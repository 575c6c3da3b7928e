'use strict';

// Who comes later, and rooms of many.

const { eventually } = require('../../test-support/eventually.js');
const { camera, paint, sound } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const { join, newRoom } = setStage();
const [much, little] = [expect.atLeast(150), expect.atMost(100)];
const TINY = { resolution: { width: 160, height: 90, frameRate: 5 } };
const MANY = 6;
const MANY_MS = 300_000;
/** A tone of 100 ms per second: with DTX, all else takes a tenth of the packets of a microphone. */
const BEEP = sound({ source: 'microphone', dtx: true }, { part: 0.1 });
/** Two processors have 72 tracks to encode and decode. */
const SLOWLY = { within: 120_000 };
/** So busy, a client's own 15 seconds for an answer can be too short. */
const PATIENT = { peerConnectionTimeout: 60_000 };

test('who joins late sees and hears those who are there', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
  await ben.seesVideoOf('ann');
  const cas = await join({ room, identity: 'cas' });
  for (const other of [ann, ben]) {
    await cas.seesAndHears(other.identity);
  }
});

test('a participant that joins late sees a picture that changes once in four seconds', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [{ ...paint('lime'), capture: { colour: 'lime', fps: 0.25 } }] });
  for (const identity of ['ben', 'cas']) {
    const guest = await join({ room, identity });
    const look = () => guest.watch('ann', 'paint');
    await eventually(`${identity} sees the picture`, look, ({ colour }) => expect(colour).toEqual([little, much, little]));
  }
});

test('who joins late over two peer connections sees and hears those who are there', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const cas = await join({ room, identity: 'cas', options: { singlePeerConnection: false } });
  await cas.seesAndHears('ann');
});

test('who joins late in Firefox sees and hears those who are there', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
  const cas = await join({ room, identity: 'cas', browser: 'firefox' });
  for (const other of ['ann', 'ben']) {
    await cas.seesAndHears(other);
  }
});

test('who leaves and comes again sees and is seen as before', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  for (let time = 1; time <= 3; time += 1) {
    const ben = await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
    await ann.seesVideoOf('ben');
    await ben.seesAndHears('ann');
    await ben.leaves();
    await ann.missesNobodyBut('ben');
  }
});

test(
  `${MANY} participants all see and hear each other`,
  async () => {
    const room = newRoom();
    const names = Array.from({ length: MANY }, (_, index) => `guest-${index}`);
    const publish = [camera({}, TINY), BEEP];
    const all = await Promise.all(names.map((identity) => join({ room, identity, connect: PATIENT, publish })));
    for (const guest of all) {
      const others = names.filter((name) => name !== guest.identity);
      await Promise.all(others.map((name) => guest.seesAndHears(name, SLOWLY)));
    }
  },
  MANY_MS,
);
