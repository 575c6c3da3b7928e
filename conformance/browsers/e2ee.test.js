'use strict';

// End-to-end encryption: the server carries what it cannot read, and only those who have the key see and hear it.

const { eventually } = require('../../test-support/eventually.js');
const { setStage } = require('../support/stage.js');

const { join, newRoom } = setStage();
const E2EE_MS = 60_000;
const MOST = 20;

test.each(/** @type {const} */ (['chromium', 'firefox']))(
  'Chromium and %s see and hear each other with the same key',
  async (browser) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', key: 'a key', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', browser, key: 'a key', publish: ['camera', 'microphone'] });
    for (const [who, whom] of [
      [ann, ben],
      [ben, ann],
    ]) {
      await who.seesAndHears(whom.identity);
      await who.knowsOf(whom.identity, { tracks: { camera: { isEncrypted: true }, microphone: { isEncrypted: true } } });
    }
  },
  E2EE_MS,
);

test(
  'whoever has another key gets everything, and sees and hears nothing',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', key: 'a key', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', key: 'a key' });
    const eve = await join({ room, identity: 'eve', key: 'another key' });
    await ben.seesAndHears('ann');
    for (const source of ['camera', 'microphone']) {
      const look = () => eve.watch('ann', source);
      await eventually(`eve gets the ${source}`, look, ({ packets }) => expect(packets).toBeGreaterThan(MOST));
    }
    await eve.hearsNothingOf('ann');
    expect(await eve.watch('ann', 'camera')).toMatchObject({ frames: 0, brightness: 0 });
    expect(await eve.watch('ann', 'microphone')).toMatchObject({ energy: 0 });
  },
  E2EE_MS,
);
