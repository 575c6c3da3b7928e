'use strict';

// Sound and pictures, from one participant to the others.

const { eventually } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const { ask, dials, gather, join, newRoom } = setSession();
const MEDIA_MS = 60_000;
/** More than twice the unused sections that the engine lets a client keep. */
const ROUNDS = 20;

/** @param {string} title @param {() => Promise<void>} work */
const slow = (title, work) => test(title, work, MEDIA_MS);

slow('two hear and see each other', async () => {
  const [ann, ben] = await gather(newRoom(), 'ann', 'ben');
  await Promise.all([ann.speaks(), ann.shows(), ben.speaks(), ben.shows()]);
  await Promise.all([ann.hears('ben'), ann.sees('ben'), ben.hears('ann'), ben.sees('ann')]);
});

slow('whoever joins late hears and sees those who are there', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  await Promise.all([ann.speaks(), ann.shows()]);
  const [ben] = await gather(room, 'ben');
  await Promise.all([ben.hears('ann'), ben.sees('ann')]);
});

slow('a track is told as it is, to the server API and to others', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  const ben = await dials({ room, identity: 'ben' });
  const { sid } = await ann.shows();
  await ben.isTold('ann', { isPublisher: true, tracks: [{ sid, name: 'face', type: 1, source: 1, muted: false, width: 320, height: 180 }] });
  const { tracks, is_publisher } = await ask('GetParticipant', { room, identity: 'ann' });
  expect(sid).toMatch(/^TR_VC[0-9A-Za-z]{12,}$/);
  expect(is_publisher).toBe(true);
  const codecs = [{ mime_type: 'video/VP8', mid: expect.any(String), cid: expect.any(String), layers: [{ quality: 'LOW' }], sdp_cid: '' }];
  expect(tracks).toMatchObject([
    { sid, type: 'VIDEO', name: 'face', source: 'CAMERA', muted: false, width: 320, height: 180, mime_type: 'video/VP8', simulcast: false, codecs },
  ]);
});

slow('a track is gone for all when it is unpublished, and another takes its place', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const { sid } = await ann.speaks('first');
  await ben.hears('ann', 'first');
  await ann.me.unpublishTrack(sid);
  await ben.notes('trackUnpublished ann first');
  const look = async () => (await ask('GetParticipant', { room, identity: 'ann' })).tracks;
  await eventually('no track is told', look, (tracks) => expect(tracks).toEqual([]));
  await ann.speaks('second');
  await ben.hears('ann', 'second');
  expect(ben.publication('ann', 'first')).toBeUndefined();
});

slow(`a track is heard after ${ROUNDS} others were published and unpublished`, async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  for (let round = 1; round <= ROUNDS; round += 1) {
    const { sid } = await ann.speaks(`voice ${round}`);
    await ben.notes(`trackSubscribed ann voice ${round}`);
    await ann.me.unpublishTrack(sid);
    await ben.notes(`trackUnpublished ann voice ${round}`);
  }
  await Promise.all([ann.speaks(), ann.shows()]);
  await Promise.all([ben.hears('ann'), ben.sees('ann')]);
});

slow('a track is silent while it is muted, and all know it', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const cleo = await dials({ room, identity: 'cleo' });
  const { sid } = await ann.speaks();
  await ben.hears('ann');
  const track = { room, identity: 'ann', track_sid: sid };
  await ask('MutePublishedTrack', { ...track, muted: true });
  await ben.notes('trackMuted ann voice');
  await cleo.isTold('ann', { tracks: [{ sid, muted: true }] });
  await ben.hearsNothing('ann');
});

slow('a publisher learns when its track is first sent to somebody that is seen', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  const publication = await ann.speaks();
  const ghost = await join({ room, identity: 'ghost', grants: { hidden: true } });
  await ghost.hears('ann');
  const isSent = `localTrackSubscribed ${publication.track?.info?.name}`;
  expect(ann.events).not.toContain(isSent);
  await gather(room, 'ben');
  await ann.notes(isSent);
  await publication.waitForSubscription();
});

slow('a track goes with its publisher', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  await ann.speaks();
  await ben.hears('ann');
  await ann.leaves();
  await ben.notes('participantDisconnected ann');
  expect(ben.room.remoteParticipants.size).toBe(0);
});

slow('nobody is sent a track who has asked for none, until he asks', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  await ann.speaks();
  const ben = await join({ room, identity: 'ben', options: { autoSubscribe: false } });
  const cleo = await join({ room, identity: 'cleo' });
  await cleo.hears('ann');
  const publication = ben.publication('ann', 'voice');
  expect(publication?.track).toBeUndefined();
  publication?.setSubscribed(true);
  await ben.hears('ann');
  publication?.setSubscribed(false);
  await ben.notes('trackUnsubscribed ann voice');
});

slow('whoever speaks is told to those who hear it and to itself, and when it falls silent', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const { sid } = await ann.speaks();
  await ben.notes('activeSpeakersChanged ann');
  await ann.notes('activeSpeakersChanged ann');
  await ask('MutePublishedTrack', { room, identity: 'ann', track_sid: sid, muted: true });
  await ben.notes('activeSpeakersChanged');
});
