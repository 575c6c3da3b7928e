'use strict';

// Codecs: each one that the browsers support is received, with the options of its publisher.

const { eventually } = require('../../test-support/eventually.js');
const { camera, inThreeLayers, sound } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { join, newRoom } = useBrowsers();
const CODECS_MS = 60_000;
/** Encoding AV1 takes almost two CPU cores. */
const SLOW = { within: 30_000 };

test.each(['vp8', 'h264', 'vp9', 'av1'])(
  'Chromium receives %s from Chromium, also if it joins later',
  async (videoCodec) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    await join({ room, identity: 'ann', publish: [camera({ videoCodec, backupCodec: false })] });
    const like = { codec: `video/${videoCodec.toUpperCase()}` };
    await ben.receivesVideoOf('ann', 'camera', { like, ...SLOW });
    const cas = await join({ room, identity: 'cas', options: { singlePeerConnection: false } });
    await cas.receivesVideoOf('ann', 'camera', { like, ...SLOW });
  },
  CODECS_MS,
);

test(
  'H264 is received in each simulcast layer',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [inThreeLayers({ videoCodec: 'h264' })] });
    const ben = await join({ room, identity: 'ben' });
    for (const [quality, width] of [
      [0, 320],
      [2, 960],
      [1, 640],
    ]) {
      await ben.run((here, quality) => here.publication('ann', 'camera').setVideoQuality(quality), quality);
      await ben.receivesVideoOf('ann', 'camera', { like: { codec: 'video/H264', width, shown: width }, ...SLOW });
    }
  },
  CODECS_MS,
);

test(
  'Firefox receives VP9 from Chromium',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [camera({ videoCodec: 'vp9', backupCodec: false })] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox' });
    await ben.receivesVideoOf('ann', 'camera', { like: { codec: 'video/VP9' }, ...SLOW });
  },
  CODECS_MS,
);

test(
  'Chromium and Firefox receive audio with RED and without it',
  async () => {
    const room = newRoom();
    const publish = [sound({ name: 'redundant', red: true, dtx: false }), sound({ name: 'plain', red: false, dtx: false })];
    await join({ room, identity: 'ann', publish });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas', browser: 'firefox' });
    await ben.seesStateOf('ann', { tracks: { redundant: { mimeType: 'audio/red' }, plain: { mimeType: 'audio/opus' } } });
    for (const name of ['redundant', 'plain']) await cas.receivesAudioOf('ann', name);
    const sizes = async () => {
      const [redundant, plain] = [await ben.receivesAudioOf('ann', 'redundant'), await ben.receivesAudioOf('ann', 'plain')];
      return { redundant: redundant.bytes / redundant.packets, plain: plain.bytes / plain.packets };
    };
    // Firefox doesn't send RED.
    await cas.publish(sound({ red: true }));
    await ben.seesStateOf('cas', { tracks: { sound: { mimeType: 'audio/opus' } } });
    await eventually('packets are larger', sizes, ({ redundant, plain }) => expect(redundant).toBeGreaterThan(plain * 1.5));
  },
  CODECS_MS,
);

/** Whether a session description offers NACK for Opus. @param {string} sdp */
function hasNack(sdp) {
  const [, opus] = /^a=rtpmap:(\d+) opus\//m.exec(sdp) ?? [];
  return sdp.split(/\r?\n/).includes(`a=rtcp-fb:${opus} nack`);
}

test.each(/** @type {const} */ (['chromium', 'firefox']))('over two peer connections, audio without RED has NACK in %s', async (browser) => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: [sound({ name: 'plain', red: false })] });
  const ben = await join({ room, identity: 'ben', browser, options: { singlePeerConnection: false } });
  await ben.receivesAudioOf('ann', 'plain');
  const { offer, answer } = await ben.run((here) => {
    const { remoteDescription, localDescription } = here.room.engine.pcManager.subscriber.pc;
    return { offer: remoteDescription.sdp, answer: localDescription.sdp };
  });
  expect({ offer: hasNack(offer), answer: hasNack(answer) }).toEqual({ offer: true, answer: true });
  await ann.publish(sound({ name: 'redundant', red: true }));
  await Promise.all(['plain', 'redundant'].map((name) => ben.receivesAudioOf('ann', name)));
  await ann.unpublish('plain');
  await ben.hasLostTracksOf('ann', ['plain']);
  await ann.publish(sound({ name: 'again', red: true }));
  await Promise.all(['redundant', 'again'].map((name) => ben.receivesAudioOf('ann', name)));
});

test('over two peer connections, audio with RED has no NACK', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [sound({ red: true })] });
  const ben = await join({ room, identity: 'ben', options: { singlePeerConnection: false } });
  await ben.receivesAudioOf('ann', 'sound');
  expect(hasNack(await ben.run((here) => here.room.engine.pcManager.subscriber.pc.remoteDescription.sdp))).toBe(false);
});

test('with DTX, silence takes less than a quarter of the packets that it takes without', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann' });
  const silence = { loudness: 0 };
  await ann.publish(sound({ name: 'dtx', dtx: true, red: false }, silence), sound({ name: 'steady', dtx: false, red: false }, silence));
  const ben = await join({ room, identity: 'ben' });
  const count = async () => {
    const [dtx, steady] = [await ben.watch('ann', 'dtx'), await ben.watch('ann', 'steady')];
    return [dtx.packets, steady.packets];
  };
  // Opus starts DTX only after some silent frames, so later intervals are compared.
  let before = await count();
  const look = async () => {
    const now = await count();
    const [dtx, steady] = now.map((packets, index) => packets - before[index]);
    before = now;
    return { dtx, steady };
  };
  const check = ({ dtx, steady }) => {
    expect(steady).toBeGreaterThan(30);
    expect(dtx).toBeLessThan(steady / 4);
  };
  await eventually('silence takes few packets', look, check, { every: 1500 });
});

test('a tone on the left channel of a stereo track is received on the left channel only', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [sound({ forceStereo: true }, { channels: 2 })] });
  const ben = await join({ room, identity: 'ben' });
  const look = () => ben.run((here) => here.levels('ann', 'sound'));
  await eventually('the tone is received', look, (levels) => expect(levels).toEqual([expect.atLeast(0.02), expect.atMost(0.005)]));
});
