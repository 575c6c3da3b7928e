'use strict';

// Sound and pictures between two participants, in each browser and on each way to connect.

const { setStage } = require('../support/stage.js');
const { camera } = require('../support/participant.js');

const { join, newRoom } = setStage();
/** As livekit-client publishes without options: 1280x720 in three sizes. */
const usual = camera({ simulcast: true }, {});
const MEDIA_MS = 60_000;

/** @param {import('../support/participant.js').Participant} one @param {import('../support/participant.js').Participant} other */
async function seeAndHearEachOther(one, other) {
  for (const [who, whom] of [
    [one, other],
    [other, one],
  ]) {
    await who.seesAndHears(whom.identity);
  }
}

test(
  'Chromium and Chromium see and hear each other, with the options that livekit-client has by itself',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [usual, 'microphone'] });
    const ben = await join({ room, identity: 'ben', publish: [usual, 'microphone'] });
    await seeAndHearEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'Chromium and Chromium see and hear each other over two peer connections each',
  async () => {
    const room = newRoom();
    const options = { singlePeerConnection: false };
    const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options, publish: ['camera', 'microphone'] });
    await seeAndHearEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'who has one peer connection and who has two see and hear each other',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options: { singlePeerConnection: false }, publish: ['camera', 'microphone'] });
    await seeAndHearEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'Chromium and Firefox see and hear each other',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox', publish: ['camera', 'microphone'] });
    await seeAndHearEachOther(ann, ben);
  },
  MEDIA_MS,
);

test.each([true, false])(
  'Firefox and Firefox see and hear each other, singlePeerConnection: %s',
  async (singlePeerConnection) => {
    const room = newRoom();
    const options = { singlePeerConnection };
    const ann = await join({ room, identity: 'ann', browser: 'firefox', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox', options, publish: ['camera', 'microphone'] });
    await seeAndHearEachOther(ann, ben);
  },
  MEDIA_MS,
);

test.each(['', 'own'])(
  'bytes that a page sends on a data channel labelled %j reach the others as a reliable message',
  async (label) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    const ann = await join({ room, identity: 'ann' });
    await ben.knows({ others: { ann: {} } });
    await ann.run(async (here, label) => {
      const channel = here.room.engine.pcManager.publisher.pc.createDataChannel(label);
      await new Promise((resolve) => channel.addEventListener('open', resolve));
      channel.send(new TextEncoder().encode('raw'));
    }, label);
    await ben.receives([{ data: 'raw', from: 'ann', kind: 'RELIABLE' }]);
  },
  MEDIA_MS,
);
