'use strict';

// Tracks that are published, muted, unpublished, subscribed and unsubscribed.

const { KEEP_RESOLUTION, camera, paint, sound } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { join, newRoom } = useBrowsers();
const TRACKS_MS = 60_000;
/** The connections to connect. */
const connections = [{ singlePeerConnection: true }, { singlePeerConnection: false }];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} participant @param {string} source @param {boolean} isSubscribed */
const setSubscribed = (participant, source, isSubscribed) =>
  participant.run((here, source, isSubscribed) => here.publication('ann', source).setSubscribed(isSubscribed), source, isSubscribed);

describe.each(connections)('with singlePeerConnection: $singlePeerConnection', (options) => {
  test(
    'a muted track is not received until it is unmuted',
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (const time of ['once', 'again']) {
        await ben.receivesMediaOf('ann');
        await ann.mute('camera');
        await ann.mute('microphone');
        await ben.seesStateOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
        if (time === 'once') await Promise.all([ben.receivesNoVideoOf('ann'), ben.receivesNoAudioOf('ann')]);
        await ann.unmute('camera');
        await ann.unmute('microphone');
        await ben.seesStateOf('ann', { tracks: { camera: { isMuted: false }, microphone: { isMuted: false } } });
      }
      await ben.receivesMediaOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'a track that is published muted is announced, and received once it is unmuted',
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
      await ben.seesStateOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
      await ann.unmute('camera');
      await ann.unmute('microphone');
      await ben.receivesMediaOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'an unpublished track is gone, and can be published again',
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (let time = 1; time <= 3; time += 1) {
        await ben.receivesMediaOf('ann');
        await ann.unpublish('camera');
        await ann.unpublish('microphone');
        await ben.hasLostTracksOf('ann');
        await ann.publish('camera', 'microphone');
      }
      await ben.receivesMediaOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'a participant that unsubscribes receives nothing, and can subscribe again',
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options });
      for (let time = 1; time <= 3; time += 1) {
        await ben.receivesMediaOf('ann');
        for (const source of ['camera', 'microphone']) await setSubscribed(ben, source, false);
        await ben.seesStateOf('ann', { tracks: { camera: { status: 'unsubscribed' }, microphone: { status: 'unsubscribed' } } });
        for (const source of ['camera', 'microphone']) await setSubscribed(ben, source, true);
      }
      await ben.receivesMediaOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'with autoSubscribe: false only requested tracks are received',
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', options, connect: { autoSubscribe: false } });
      await ben.seesStateOf('ann', { tracks: { camera: { isSubscribed: false }, microphone: { isSubscribed: false } } });
      await setSubscribed(ben, 'microphone', true);
      await ben.receivesAudioOf('ann');
      await ben.seesStateOf('ann', { tracks: { camera: { isSubscribed: false } } });
      await setSubscribed(ben, 'camera', true);
      await ben.receivesVideoOf('ann');
    },
    TRACKS_MS,
  );

  test(
    'a participant publishes eight tracks, and each is received with its own content',
    async () => {
      const room = newRoom();
      const colours = ['red', 'lime', 'blue', 'yellow'];
      const tones = ['one', 'two', 'three', 'four'];
      const ann = await join({ room, identity: 'ann', options });
      const ben = await join({ room, identity: 'ben', options });
      await ann.publish(...colours.map((name) => paint(name, { name })), ...tones.map((name) => sound({ name })));
      const cas = await join({ room, identity: 'cas', options });
      const [much, little] = [expect.atLeast(150), expect.atMost(100)];
      const looks = [
        [much, little, little],
        [little, much, little],
        [little, little, much],
        [much, much, little],
      ];
      for (const participant of [ben, cas]) {
        await Promise.all(colours.map((name, index) => participant.receivesVideoOf('ann', name, { like: { colour: looks[index] } })));
        await Promise.all(tones.map((name) => participant.receivesAudioOf('ann', name)));
      }
    },
    TRACKS_MS,
  );
});

test(
  'a shared screen is received beside the camera',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera'] });
    const ben = await join({ room, identity: 'ben' });
    await ann.run((here) => here.me.setScreenShareEnabled(true, { resolution: { width: 640, height: 360, frameRate: 5 } }));
    await ben.receivesVideoOf('ann', 'screen_share');
    await ben.receivesVideoOf('ann', 'camera');
    await ann.run((here) => here.me.setScreenShareEnabled(false));
    await ben.hasLostTracksOf('ann', ['screen_share']);
    await ben.receivesVideoOf('ann', 'camera');
  },
  TRACKS_MS,
);

test(
  'a camera that is restarted with another size is received on the same track',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: [camera(KEEP_RESOLUTION)] });
    const ben = await join({ room, identity: 'ben' });
    await ben.receivesVideoOf('ann');
    await ann.run((here) => here.publication('ann', 'camera').track.restartTrack({ resolution: { width: 480, height: 270, frameRate: 10 } }));
    await ben.receivesVideoOf('ann', 'camera', { like: { width: 480, shown: 480 } });
  },
  TRACKS_MS,
);
