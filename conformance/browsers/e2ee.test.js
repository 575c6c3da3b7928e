'use strict';

// End-to-end encryption: the server forwards frames that only participants with the key can decode.

const { eventually } = require('../../test-support/eventually.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { join, newRoom } = useBrowsers();
const E2EE_MS = 60_000;
const MIN_PACKETS = 20;

test.each(/** @type {const} */ (['chromium', 'firefox']))(
  'Chromium and %s receive each other with the same key',
  async (browser) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', key: 'a key', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser, key: 'a key', publish: ['camera', 'microphone'] });
    for (const [subscriber, publisher] of [
      [ann, ben],
      [ben, ann],
    ]) {
      await subscriber.receivesMediaOf(publisher.identity);
      await subscriber.seesStateOf(publisher.identity, { tracks: { camera: { isEncrypted: true }, microphone: { isEncrypted: true } } });
    }
  },
  E2EE_MS,
);

test(
  'a participant with another key receives packets, and decodes neither frames nor audio',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', key: 'a key', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', key: 'a key' });
    const eve = await join({ room, identity: 'eve', key: 'another key' });
    await ben.receivesMediaOf('ann');
    for (const source of ['camera', 'microphone']) {
      const look = () => eve.watch('ann', source);
      await eventually(`eve receives packets of the ${source}`, look, ({ packets }) => expect(packets).toBeGreaterThan(MIN_PACKETS));
    }
    await eve.receivesNoAudioOf('ann');
    expect(await eve.watch('ann', 'camera')).toMatchObject({ frames: 0, brightness: 0 });
    expect(await eve.watch('ann', 'microphone')).toMatchObject({ energy: 0 });
  },
  E2EE_MS,
);
