'use strict';

// What pictures and sound are coded in: each codec that the browsers have arrives, and in the way that was asked for.

const { eventually } = require('../../test-support/eventually.js');
const { camera, inThreeSizes, sound } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const { join, newRoom } = setStage();
const CODECS_MS = 60_000;
/** AV1 is a heavy load for two cores. */
const SLOW = { within: 30_000 };

test.each(['vp8', 'h264', 'vp9', 'av1'])(
  'Chromium sees what Chromium publishes in %s, also if it comes later',
  async (videoCodec) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    await join({ room, identity: 'ann', publish: [camera({ videoCodec, backupCodec: false })] });
    const like = { codec: `video/${videoCodec.toUpperCase()}` };
    await ben.seesVideoOf('ann', 'camera', { like, ...SLOW });
    const cas = await join({ room, identity: 'cas', options: { singlePeerConnection: false } });
    await cas.seesVideoOf('ann', 'camera', { like, ...SLOW });
  },
  CODECS_MS,
);

test(
  'H264 comes in several sizes, too',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [inThreeSizes({ videoCodec: 'h264' })] });
    const ben = await join({ room, identity: 'ben' });
    for (const [quality, width] of [
      [0, 320],
      [2, 960],
      [1, 640],
    ]) {
      await ben.run((here, quality) => here.of('ann', 'camera').setVideoQuality(quality), quality);
      await ben.seesVideoOf('ann', 'camera', { like: { codec: 'video/H264', width, shown: width }, ...SLOW });
    }
  },
  CODECS_MS,
);

test(
  'Firefox sees what Chromium publishes in VP9',
  async () => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: [camera({ videoCodec: 'vp9', backupCodec: false })] });
    const ben = await join({ room, identity: 'ben', browser: 'firefox' });
    await ben.seesVideoOf('ann', 'camera', { like: { codec: 'video/VP9' }, ...SLOW });
  },
  CODECS_MS,
);

test(
  'sound comes with what came before once more, unless that is not wanted, and is heard in Chromium and Firefox',
  async () => {
    const room = newRoom();
    const publish = [sound({ name: 'redundant', red: true, dtx: false }), sound({ name: 'plain', red: false, dtx: false })];
    await join({ room, identity: 'ann', publish });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas', browser: 'firefox' });
    await ben.knowsOf('ann', { tracks: { redundant: { mimeType: 'audio/red' }, plain: { mimeType: 'audio/opus' } } });
    for (const name of ['redundant', 'plain']) await cas.hears('ann', name);
    const sizes = async () => {
      const [redundant, plain] = [await ben.hears('ann', 'redundant'), await ben.hears('ann', 'plain')];
      return { redundant: redundant.bytes / redundant.packets, plain: plain.bytes / plain.packets };
    };
    // Firefox has no such thing.
    await cas.publishes(sound({ red: true }));
    await ben.knowsOf('cas', { tracks: { sound: { mimeType: 'audio/opus' } } });
    await eventually('packets are larger', sizes, ({ redundant, plain }) => expect(redundant).toBeGreaterThan(plain * 1.5));
  },
  CODECS_MS,
);

/** Whether a session description has NACK for Opus. @param {string} sdp */
function hasNack(sdp) {
  const [, opus] = /^a=rtpmap:(\d+) opus\//m.exec(sdp) ?? [];
  return sdp.split(/\r?\n/).includes(`a=rtcp-fb:${opus} nack`);
}

test.each(/** @type {const} */ (['chromium', 'firefox']))('over two peer connections, sound without redundancy has NACK in %s', async (browser) => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: [sound({ name: 'plain', red: false })] });
  const ben = await join({ room, identity: 'ben', browser, options: { singlePeerConnection: false } });
  await ben.hears('ann', 'plain');
  const { offer, answer } = await ben.run((here) => {
    const { remoteDescription, localDescription } = here.room.engine.pcManager.subscriber.pc;
    return { offer: remoteDescription.sdp, answer: localDescription.sdp };
  });
  expect({ offer: hasNack(offer), answer: hasNack(answer) }).toEqual({ offer: true, answer: true });
  await ann.publishes(sound({ name: 'redundant', red: true }));
  await Promise.all(['plain', 'redundant'].map((name) => ben.hears('ann', name)));
  await ann.unpublishes('plain');
  await ben.missesTracksOf('ann', ['plain']);
  await ann.publishes(sound({ name: 'again', red: true }));
  await Promise.all(['redundant', 'again'].map((name) => ben.hears('ann', name)));
});

test('over two peer connections, sound with redundancy has no NACK', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [sound({ red: true })] });
  const ben = await join({ room, identity: 'ben', options: { singlePeerConnection: false } });
  await ben.hears('ann', 'sound');
  expect(hasNack(await ben.run((here) => here.room.engine.pcManager.subscriber.pc.remoteDescription.sdp))).toBe(false);
});

test('with DTX silence takes next to no packets, without it as many as sound', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann' });
  const silence = { loudness: 0 };
  await ann.publishes(sound({ name: 'sparing', dtx: true, red: false }, silence), sound({ name: 'steady', dtx: false, red: false }, silence));
  const ben = await join({ room, identity: 'ben' });
  const count = async () => {
    const [sparing, steady] = [await ben.watch('ann', 'sparing'), await ben.watch('ann', 'steady')];
    return [sparing.packets, steady.packets];
  };
  // Whoever falls silent is still sent in full for a while.
  let before = await count();
  const look = async () => {
    const now = await count();
    const [sparing, steady] = now.map((packets, index) => packets - before[index]);
    before = now;
    return { sparing, steady };
  };
  const check = ({ sparing, steady }) => {
    expect(steady).toBeGreaterThan(30);
    expect(sparing).toBeLessThan(steady / 4);
  };
  await eventually('silence is sent sparingly', look, check, { every: 1500 });
});

test('a tone on the left is heard on the left alone, if the track is stereo', async () => {
  const room = newRoom();
  await join({ room, identity: 'ann', publish: [sound({ forceStereo: true }, { channels: 2 })] });
  const ben = await join({ room, identity: 'ben' });
  const look = () => ben.run((here) => here.sides('ann', 'sound'));
  await eventually('it is heard', look, (heard) => expect(heard).toEqual([expect.atLeast(0.02), expect.atMost(0.005)]));
});
