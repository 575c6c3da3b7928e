'use strict';

// Simulcast: each subscriber receives the layer that it requested.

const { inThreeLayers } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { callApi, join, newRoom } = useBrowsers();
const LAYERS_MS = 90_000;
/** Switching to a higher layer waits until the publisher's bandwidth estimate has grown. */
const GROWS = { within: 30_000 };
const SETTLES_MS = 3_000;
const threeLayers = inThreeLayers();
const [LOW, MEDIUM, HIGH] = [
  { quality: 0, width: 320 },
  { quality: 1, width: 640 },
  { quality: 2, width: 960 },
];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} participant @param {number} quality */
const requestQuality = (participant, quality) => participant.run((here, quality) => here.publication('ann', 'camera').setVideoQuality(quality), quality);
/** @param {Participant} participant @param {number} width */
const requestWidth = (participant, width) =>
  participant.run((here, width) => here.publication('ann', 'camera').setVideoDimensions({ width, height: (width * 9) / 16 }), width);
/** @param {Participant} participant @param {number} width */
const resize = (participant, width) => participant.run((here, width) => here.resize('ann', 'camera', width), width);
/** @param {Participant} participant @param {number} width */
const receivesWidth = (participant, width) => participant.receivesVideoOf('ann', 'camera', { like: { width, shown: width }, ...GROWS });

test.each([true, false])(
  'a subscriber receives the quality that it requests, down and up again, singlePeerConnection: %s',
  async (singlePeerConnection) => {
    const room = newRoom();
    const options = { singlePeerConnection };
    await join({ room, identity: 'ann', options, publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben', options });
    await receivesWidth(ben, HIGH.width);
    for (const { quality, width } of [LOW, MEDIUM, HIGH, LOW, HIGH]) {
      await requestQuality(ben, quality);
      await receivesWidth(ben, width);
    }
  },
  LAYERS_MS,
);

test(
  'subscribers receive different qualities of one track at the same time',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas' });
    await requestQuality(ben, LOW.quality);
    await receivesWidth(ben, LOW.width);
    await receivesWidth(cas, HIGH.width);
    await requestQuality(cas, MEDIUM.quality);
    await receivesWidth(cas, MEDIUM.width);
    await receivesWidth(ben, LOW.width);
  },
  LAYERS_MS,
);

test(
  'a subscriber receives the layer that fits the width it requests',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben' });
    for (const [requested, width] of [
      [300, LOW.width],
      [600, MEDIUM.width],
      [900, HIGH.width],
      [160, LOW.width],
    ]) {
      await requestWidth(ben, requested);
      await receivesWidth(ben, width);
    }
  },
  LAYERS_MS,
);

test(
  'a layer is large enough from nine tenths of the requested height, whatever the width',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben' });
    await receivesWidth(ben, HIGH.width);
    for (const [requested, width] of [
      [{ width: 356, height: 200 }, LOW.width],
      [{ width: 1, height: 390 }, MEDIUM.width],
      [{ width: 900, height: 100 }, LOW.width],
      [{ width: 1, height: 410 }, HIGH.width],
    ]) {
      await ben.run((here, size) => here.publication('ann', 'camera').setVideoDimensions(size), requested);
      await receivesWidth(ben, width);
    }
  },
  LAYERS_MS,
);

test(
  'a requested quality is kept when the permission to subscribe is revoked and granted again',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben' });
    await receivesWidth(ben, HIGH.width);
    await requestQuality(ben, LOW.quality);
    await receivesWidth(ben, LOW.width);
    const permission = { can_publish: true, can_subscribe: true, can_publish_data: true };
    const keepsLayer = async () => {
      await ben.receivesVideoOf('ann');
      // Long enough for another layer to be selected.
      await new Promise((resolve) => setTimeout(resolve, SETTLES_MS));
      expect(await ben.watch('ann', 'camera')).toMatchObject({ width: LOW.width });
    };
    await callApi('UpdateParticipant', { room, identity: 'ben', permission: { ...permission, can_subscribe: false } });
    await ben.seesStateOf('ann', { tracks: { camera: { isSubscribed: false } } });
    await callApi('UpdateParticipant', { room, identity: 'ben', permission });
    await keepsLayer();
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(false, []));
    await ben.seesStateOf('ann', { tracks: { camera: { isSubscribed: false } } });
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(true));
    await keepsLayer();
  },
  LAYERS_MS,
);

test(
  'each layer that Firefox publishes is received',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', browser: 'firefox', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben' });
    await receivesWidth(ben, HIGH.width);
    for (const { quality, width } of [LOW, MEDIUM, HIGH]) {
      await requestQuality(ben, quality);
      await receivesWidth(ben, width);
    }
  },
  LAYERS_MS,
);

test('a disabled track stops, and continues when it is enabled', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben' });
  const cas = await join({ room, identity: 'cas' });
  await ben.receivesVideoOf('ann');
  const setEnabled = (enabled) => {
    const enable = (here, enabled) => ['camera', 'microphone'].forEach((source) => here.publication('ann', source).setEnabled(enabled));
    return ben.run(enable, enabled);
  };
  await setEnabled(false);
  await ben.receivesNoVideoOf('ann');
  await ben.receivesNoAudioOf('ann');
  await cas.receivesVideoOf('ann');
  await setEnabled(true);
  await ben.receivesMediaOf('ann');
});

test(
  'with adaptiveStream a track is received as large as its element, and stops while the element is hidden',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [threeLayers] });
    const ben = await join({ room, identity: 'ben', options: { adaptiveStream: true } });
    await receivesWidth(ben, LOW.width);
    await resize(ben, 640);
    await receivesWidth(ben, MEDIUM.width);
    await resize(ben, 0);
    await ben.receivesNoVideoOf('ann');
    await resize(ben, 160);
    await receivesWidth(ben, LOW.width);
  },
  LAYERS_MS,
);
