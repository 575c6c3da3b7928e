'use strict';

// Audio and video from one participant to others.

const { eventually } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const { callApi, connectSignalling, joinAll, join, newRoom } = useSession();
const MEDIA_MS = 60_000;
/** More than twice the unused media sections that the engine lets a client keep. */
const ROUNDS = 20;

/** @param {string} title @param {() => Promise<void>} work */
const slow = (title, work) => test(title, work, MEDIA_MS);

slow('two participants receive audio and video of each other', async () => {
  const [ann, ben] = await joinAll(newRoom(), 'ann', 'ben');
  await Promise.all([ann.publishAudio(), ann.publishVideo(), ben.publishAudio(), ben.publishVideo()]);
  await Promise.all([ann.receivesAudioOf('ben'), ann.receivesVideoOf('ben'), ben.receivesAudioOf('ann'), ben.receivesVideoOf('ann')]);
});

slow('a participant that joins late receives the tracks of the others', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  await Promise.all([ann.publishAudio(), ann.publishVideo()]);
  const [ben] = await joinAll(room, 'ben');
  await Promise.all([ben.receivesAudioOf('ann'), ben.receivesVideoOf('ann')]);
});

slow('a track has its name, source, size and codec in the room service and for other participants', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  const ben = await connectSignalling({ room, identity: 'ben' });
  const { sid } = await ann.publishVideo();
  await ben.receivesInfo('ann', { isPublisher: true, tracks: [{ sid, name: 'face', type: 1, source: 1, muted: false, width: 320, height: 180 }] });
  const { tracks, is_publisher } = await callApi('GetParticipant', { room, identity: 'ann' });
  expect(sid).toMatch(/^TR_VC[0-9A-Za-z]{12,}$/);
  expect(is_publisher).toBe(true);
  const codecs = [{ mime_type: 'video/VP8', mid: expect.any(String), cid: expect.any(String), layers: [{ quality: 'LOW' }], sdp_cid: '' }];
  expect(tracks).toMatchObject([
    { sid, type: 'VIDEO', name: 'face', source: 'CAMERA', muted: false, width: 320, height: 180, mime_type: 'video/VP8', simulcast: false, codecs },
  ]);
});

slow('an unpublished track is gone for all, and another one takes its place', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const { sid } = await ann.publishAudio('first');
  await ben.receivesAudioOf('ann', 'first');
  await ann.me.unpublishTrack(sid);
  await ben.hasEvent('trackUnpublished ann first');
  const look = async () => (await callApi('GetParticipant', { room, identity: 'ann' })).tracks;
  await eventually('no track is listed', look, (tracks) => expect(tracks).toEqual([]));
  await ann.publishAudio('second');
  await ben.receivesAudioOf('ann', 'second');
  expect(ben.publication('ann', 'first')).toBeUndefined();
});

slow(`a track is received after ${ROUNDS} others were published and unpublished`, async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  for (let round = 1; round <= ROUNDS; round += 1) {
    const { sid } = await ann.publishAudio(`voice ${round}`);
    await ben.hasEvent(`trackSubscribed ann voice ${round}`);
    await ann.me.unpublishTrack(sid);
    await ben.hasEvent(`trackUnpublished ann voice ${round}`);
  }
  await Promise.all([ann.publishAudio(), ann.publishVideo()]);
  await Promise.all([ben.receivesAudioOf('ann'), ben.receivesVideoOf('ann')]);
});

slow('a muted track is silent, and all participants receive its state', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const cleo = await connectSignalling({ room, identity: 'cleo' });
  const { sid } = await ann.publishAudio();
  await ben.receivesAudioOf('ann');
  const track = { room, identity: 'ann', track_sid: sid };
  await callApi('MutePublishedTrack', { ...track, muted: true });
  await ben.hasEvent('trackMuted ann voice');
  await cleo.receivesInfo('ann', { tracks: [{ sid, muted: true }] });
  await ben.receivesNoAudioOf('ann');
});

slow('a publisher receives TrackSubscribed for its first visible subscriber', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  const publication = await ann.publishAudio();
  const hidden = await join({ room, identity: 'hidden', grants: { hidden: true } });
  await hidden.receivesAudioOf('ann');
  const subscribed = `localTrackSubscribed ${publication.track?.info?.name}`;
  expect(ann.events).not.toContain(subscribed);
  await joinAll(room, 'ben');
  await ann.hasEvent(subscribed);
  await publication.waitForSubscription();
});

slow('a track is gone when its publisher leaves', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  await ann.publishAudio();
  await ben.receivesAudioOf('ann');
  await ann.leave();
  await ben.hasEvent('participantDisconnected ann');
  expect(ben.room.remoteParticipants.size).toBe(0);
});

slow('a participant with autoSubscribe: false receives a track only while it subscribes to it', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  await ann.publishAudio();
  const ben = await join({ room, identity: 'ben', options: { autoSubscribe: false } });
  const cleo = await join({ room, identity: 'cleo' });
  await cleo.receivesAudioOf('ann');
  const publication = ben.publication('ann', 'voice');
  expect(publication?.track).toBeUndefined();
  publication?.setSubscribed(true);
  await ben.receivesAudioOf('ann');
  publication?.setSubscribed(false);
  await ben.hasEvent('trackUnsubscribed ann voice');
});

slow('an active speaker is sent to its subscribers and to itself, and removed when it is silent', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const { sid } = await ann.publishAudio();
  await ben.hasEvent('activeSpeakersChanged ann');
  await ann.hasEvent('activeSpeakersChanged ann');
  await callApi('MutePublishedTrack', { room, identity: 'ann', track_sid: sid, muted: true });
  await ben.hasEvent('activeSpeakersChanged');
});
