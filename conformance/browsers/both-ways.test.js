'use strict';

// Audio and video between two participants, in each browser, over one and two peer connections.

const { useBrowsers } = require('../support/use-browsers.js');
const { camera } = require('../support/participant.js');

const { join, newRoom } = useBrowsers();
/** livekit-client's default: 1280x720 in three simulcast layers. */
const defaultCamera = camera({ simulcast: true }, {});
const MEDIA_MS = 60_000;

/** @param {import('../support/participant.js').Participant} one @param {import('../support/participant.js').Participant} other */
async function receiveMediaOfEachOther(one, other) {
  await Promise.all([one.receivesMediaOf(other.identity), other.receivesMediaOf(one.identity)]);
}

test(
  'Chromium and Chromium receive each other, with the default options of livekit-client',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [defaultCamera, 'microphone'] });
    const ben = await join({ room, identity: 'ben', publish: [defaultCamera, 'microphone'] });
    await receiveMediaOfEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'Chromium and Chromium receive each other over two peer connections each',
  async () => {
    const room = newRoom();
    const options = { singlePeerConnection: false };
    const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options, publish: ['camera', 'microphone'] });
    await receiveMediaOfEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'participants with one and with two peer connections receive each other',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options: { singlePeerConnection: false }, publish: ['camera', 'microphone'] });
    await receiveMediaOfEachOther(ann, ben);
  },
  MEDIA_MS,
);

test(
  'Chromium and Firefox receive each other',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox', publish: ['camera', 'microphone'] });
    await receiveMediaOfEachOther(ann, ben);
  },
  MEDIA_MS,
);

test.each([true, false])(
  'Firefox and Firefox receive each other, singlePeerConnection: %s',
  async (singlePeerConnection) => {
    const room = newRoom();
    const options = { singlePeerConnection };
    const ann = await join({ room, identity: 'ann', browser: 'firefox', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox', options, publish: ['camera', 'microphone'] });
    await receiveMediaOfEachOther(ann, ben);
  },
  MEDIA_MS,
);

test.each(['', 'own'])(
  'raw bytes on a data channel labelled %j reach the other participants as a reliable message',
  async (label) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    const ann = await join({ room, identity: 'ann' });
    await ben.seesState({ others: { ann: {} } });
    await ann.run(async (here, label) => {
      const channel = here.room.engine.pcManager.publisher.pc.createDataChannel(label);
      await new Promise((resolve) => channel.addEventListener('open', resolve));
      channel.send(new TextEncoder().encode('raw'));
    }, label);
    await ben.receives([{ data: 'raw', from: 'ann', kind: 'RELIABLE' }]);
  },
  MEDIA_MS,
);
