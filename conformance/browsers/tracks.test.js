'use strict';

// Tracks come and go, by who publishes them and by who wants them.

const { AS_LARGE, camera, paint, sound } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const { join, newRoom } = setStage();
const TRACKS_MS = 60_000;
/** The ways to connect. */
const ways = [{ singlePeerConnection: true }, { singlePeerConnection: false }];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} who @param {string} source @param {boolean} isWanted */
const wants = (who, source, isWanted) =>
  who.run((here, source, isWanted) => here.of('ann', source).setSubscribed(isWanted), source, isWanted);

describe.each(ways)('with singlePeerConnection: $singlePeerConnection', (options) => {
  test(
    'what is muted is neither seen nor heard, until it is unmuted',
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (const time of ['once', 'again']) {
        await ben.seesAndHears('ann');
        await ann.mutes('camera');
        await ann.mutes('microphone');
        await ben.knowsOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
        if (time === 'once') await Promise.all([ben.seesNoVideoOf('ann'), ben.hearsNothingOf('ann')]);
        await ann.unmutes('camera');
        await ann.unmutes('microphone');
        await ben.knowsOf('ann', { tracks: { camera: { isMuted: false }, microphone: { isMuted: false } } });
      }
      await ben.seesAndHears('ann');
    },
    TRACKS_MS,
  );

  test(
    'what is published muted is there, and seen and heard once it is unmuted',
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', options });
      const ben = await join({ room, identity: 'ben', options });
      await ann.run(async ({ client, me }) => {
        const video = await client.createLocalVideoTrack({ resolution: { width: 320, height: 180, frameRate: 10 } });
        const audio = await client.createLocalAudioTrack();
        for (const track of [video, audio]) {
          await track.mute();
          await me.publishTrack(track, { simulcast: false });
        }
      });
      await ben.knowsOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
      await ann.unmutes('camera');
      await ann.unmutes('microphone');
      await ben.seesAndHears('ann');
    },
    TRACKS_MS,
  );

  test(
    'what is unpublished is gone, and can be published again',
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (let time = 1; time <= 3; time += 1) {
        await ben.seesAndHears('ann');
        await ann.unpublishes('camera');
        await ann.unpublishes('microphone');
        await ben.missesTracksOf('ann');
        await ann.publishes('camera', 'microphone');
      }
      await ben.seesAndHears('ann');
    },
    TRACKS_MS,
  );

  test(
    'whoever unsubscribes is sent nothing more, and can subscribe again and again',
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (let time = 1; time <= 3; time += 1) {
        await ben.seesAndHears('ann');
        for (const source of ['camera', 'microphone']) await wants(ben, source, false);
        await ben.knowsOf('ann', { tracks: { camera: { status: 'unsubscribed' }, microphone: { status: 'unsubscribed' } } });
        for (const source of ['camera', 'microphone']) await wants(ben, source, true);
      }
      await ben.seesAndHears('ann');
    },
    TRACKS_MS,
  );

  test(
    'with autoSubscribe: false nothing is sent but what is asked for',
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options, connect: { autoSubscribe: false } });
      await ben.knowsOf('ann', { tracks: { camera: { isSubscribed: false }, microphone: { isSubscribed: false } } });
      await wants(ben, 'microphone', true);
      await ben.hears('ann');
      await ben.knowsOf('ann', { tracks: { camera: { isSubscribed: false } } });
      await wants(ben, 'camera', true);
      await ben.seesVideoOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'one participant publishes many tracks, and each is what it is',
    async () => {
      const room = newRoom();
      const colours = ['red', 'lime', 'blue', 'yellow'];
      const tones = ['one', 'two', 'three', 'four'];
      const ann = await join({ room, identity: 'ann', options });
      const ben = await join({ room, identity: 'ben', options });
      await ann.publishes(...colours.map((name) => paint(name, { name })), ...tones.map((name) => sound({ name })));
      const cas = await join({ room, identity: 'cas', options });
      const [much, little] = [expect.atLeast(150), expect.atMost(100)];
      const looks = [
        [much, little, little],
        [little, much, little],
        [little, little, much],
        [much, much, little],
      ];
      for (const who of [ben, cas]) {
        await Promise.all(colours.map((name, index) => who.seesVideoOf('ann', name, { like: { colour: looks[index] } })));
        await Promise.all(tones.map((name) => who.hears('ann', name)));
      }
    },
    TRACKS_MS,
  );
});

test(
  'a shared screen is seen beside the camera',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera'] });
    const ben = await join({ room, identity: 'ben' });
    await ann.run((here) => here.me.setScreenShareEnabled(true, { resolution: { width: 640, height: 360, frameRate: 5 } }));
    await ben.seesVideoOf('ann', 'screen_share');
    await ben.seesVideoOf('ann', 'camera');
    await ann.run((here) => here.me.setScreenShareEnabled(false));
    await ben.missesTracksOf('ann', ['screen_share']);
    await ben.seesVideoOf('ann', 'camera');
  },
  TRACKS_MS,
);

test(
  'a camera that is exchanged while it is on is seen on the same track',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [camera(AS_LARGE)] });
    const ben = await join({ room, identity: 'ben' });
    await ben.seesVideoOf('ann');
    await ann.run((here) => here.of('ann', 'camera').track.restartTrack({ resolution: { width: 480, height: 270, frameRate: 10 } }));
    await ben.seesVideoOf('ann', 'camera', { like: { width: 480, shown: 480 } });
  },
  TRACKS_MS,
);
