'use strict';

// Of a track that is published in several sizes everyone gets the one that they ask for.

const { inThreeSizes } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const { ask, join, newRoom } = setStage();
const SIZES_MS = 90_000;
/** Upwards a size comes once the publisher's bandwidth estimate has grown. */
const GROWS = { within: 30_000 };
const SETTLES_MS = 3_000;
const threeSizes = inThreeSizes();
const [LOW, MEDIUM, HIGH] = [
  { quality: 0, width: 320 },
  { quality: 1, width: 640 },
  { quality: 2, width: 960 },
];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} who @param {number} quality */
const wants = (who, quality) => who.run((here, quality) => here.of('ann', 'camera').setVideoQuality(quality), quality);
/** @param {Participant} who @param {number} width */
const wantsWidth = (who, width) =>
  who.run((here, width) => here.of('ann', 'camera').setVideoDimensions({ width, height: (width * 9) / 16 }), width);
/** @param {Participant} who @param {number} width */
const resizes = (who, width) => who.run((here, width) => here.resize('ann', 'camera', width), width);
/** @param {Participant} who @param {number} width */
const seesWide = (who, width) => who.seesVideoOf('ann', 'camera', { like: { width, shown: width }, ...GROWS });

test.each([true, false])(
  'a subscriber gets the quality that it asks for, down and up again, singlePeerConnection: %s',
  async (singlePeerConnection) => {
    const room = newRoom();
    const options = { singlePeerConnection };
    await join({ room, identity: 'ann', options, publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben', options });
    await seesWide(ben, HIGH.width);
    for (const { quality, width } of [LOW, MEDIUM, HIGH, LOW, HIGH]) {
      await wants(ben, quality);
      await seesWide(ben, width);
    }
  },
  SIZES_MS,
);

test(
  'subscribers get different qualities of one track at a time',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas' });
    await wants(ben, LOW.quality);
    await seesWide(ben, LOW.width);
    await seesWide(cas, HIGH.width);
    await wants(cas, MEDIUM.quality);
    await seesWide(cas, MEDIUM.width);
    await seesWide(ben, LOW.width);
  },
  SIZES_MS,
);

test(
  'a subscriber gets the size that fits the width it asks for',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben' });
    for (const [asked, width] of [
      [300, LOW.width],
      [600, MEDIUM.width],
      [900, HIGH.width],
      [160, LOW.width],
    ]) {
      await wantsWidth(ben, asked);
      await seesWide(ben, width);
    }
  },
  SIZES_MS,
);

test(
  'a layer counts as large enough from nine tenths of the height that is asked for, whatever the width',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben' });
    await seesWide(ben, HIGH.width);
    for (const [asked, width] of [
      [{ width: 356, height: 200 }, LOW.width],
      [{ width: 1, height: 390 }, MEDIUM.width],
      [{ width: 900, height: 100 }, LOW.width],
      [{ width: 1, height: 410 }, HIGH.width],
    ]) {
      await ben.run((here, size) => here.of('ann', 'camera').setVideoDimensions(size), asked);
      await seesWide(ben, width);
    }
  },
  SIZES_MS,
);

test(
  'a quality that was asked for holds when the right to subscribe is revoked and granted',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben' });
    await seesWide(ben, HIGH.width);
    await wants(ben, LOW.quality);
    await seesWide(ben, LOW.width);
    const permission = { can_publish: true, can_subscribe: true, can_publish_data: true };
    const lasts = async () => {
      await ben.seesVideoOf('ann');
      // By then another layer would have been selected.
      await new Promise((resolve) => setTimeout(resolve, SETTLES_MS));
      expect(await ben.watch('ann', 'camera')).toMatchObject({ width: LOW.width });
    };
    await ask('UpdateParticipant', { room, identity: 'ben', permission: { ...permission, can_subscribe: false } });
    await ben.knowsOf('ann', { tracks: { camera: { isSubscribed: false } } });
    await ask('UpdateParticipant', { room, identity: 'ben', permission });
    await lasts();
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(false, []));
    await ben.knowsOf('ann', { tracks: { camera: { isSubscribed: false } } });
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(true));
    await lasts();
  },
  SIZES_MS,
);

test(
  'what Firefox publishes in several sizes comes in each of them',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', browser: 'firefox', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben' });
    await seesWide(ben, HIGH.width);
    for (const { quality, width } of [LOW, MEDIUM, HIGH]) {
      await wants(ben, quality);
      await seesWide(ben, width);
    }
  },
  SIZES_MS,
);

test('a track that is disabled stops, and goes on when it is enabled', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben' });
  const cas = await join({ room, identity: 'cas' });
  await ben.seesVideoOf('ann');
  const enables = (enabled) => {
    const enable = (here, enabled) => ['camera', 'microphone'].forEach((source) => here.of('ann', source).setEnabled(enabled));
    return ben.run(enable, enabled);
  };
  await enables(false);
  await ben.seesNoVideoOf('ann');
  await ben.hearsNothingOf('ann');
  await cas.seesVideoOf('ann');
  await enables(true);
  await ben.seesAndHears('ann');
});

test(
  'with adaptiveStream a track is as large as its picture on the page, and stops where there is none',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeSizes] });
    const ben = await join({ room, identity: 'ben', options: { adaptiveStream: true } });
    await seesWide(ben, LOW.width);
    await resizes(ben, 640);
    await seesWide(ben, MEDIUM.width);
    await resizes(ben, 0);
    await ben.seesNoVideoOf('ann');
    await resizes(ben, 160);
    await seesWide(ben, LOW.width);
  },
  SIZES_MS,
);
