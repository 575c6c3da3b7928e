'use strict';

// Permissions that change during a call, active speakers and connection quality.

const { eventually } = require('../../test-support/eventually.js');
const { sound } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const { callApi, join, newRoom } = useBrowsers();
const PERMISSIONS_MS = 60_000;
const all = { can_publish: true, can_subscribe: true, can_publish_data: true };

/** Sets permissions; those not given are true. @param {string} room @param {string} identity @param {object} permission */
const setPermission = (room, identity, permission) => callApi('UpdateParticipant', { room, identity, permission: { ...all, ...permission } });

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'a participant that loses canPublish has no tracks, and publishes again once it has the permission, with %j',
  async (options) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options });
    await ben.receivesVideoOf('ann');
    await setPermission(room, 'ann', { can_publish: false });
    await ann.seesState({ me: { permissions: { canPublish: false } } });
    await ben.hasLostTracksOf('ann');
    await eventually('ann has no tracks', () => ann.state(), ({ me }) => expect(me.tracks).toEqual({}));
    const { error } = await ann.attempt((here) => here.publish('camera'));
    expect(error).toMatchObject({ message: expect.stringContaining('permission') });
    await setPermission(room, 'ann', {});
    await ann.seesState({ me: { permissions: { canPublish: true } } });
    await ann.publish('camera', 'microphone');
    await ben.receivesMediaOf('ann');
  },
  PERMISSIONS_MS,
);

test(
  'a participant that loses the permission for a source keeps the tracks of the others',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.receivesVideoOf('ann');
    await setPermission(room, 'ann', { can_publish_sources: ['MICROPHONE'] });
    await ben.hasLostTracksOf('ann', ['camera']);
    await ben.receivesAudioOf('ann');
    expect(Object.keys((await ann.state()).me.tracks)).toEqual(['microphone']);
  },
  PERMISSIONS_MS,
);

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'a participant that loses canSubscribe is sent no tracks until it has the permission again, with %j',
  async (options) => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options });
    await ben.receivesVideoOf('ann');
    await setPermission(room, 'ben', { can_subscribe: false });
    await ben.hasEvents(['trackUnsubscribed camera ann', 'trackUnsubscribed microphone ann']);
    await setPermission(room, 'ben', {});
    await ben.receivesMediaOf('ann');
  },
  PERMISSIONS_MS,
);

test(
  'a publisher decides which participants may subscribe to its tracks',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas' });
    await Promise.all([ben.receivesVideoOf('ann'), cas.receivesVideoOf('ann')]);
    await ann.run((here) => {
      const { trackSid } = here.publication('ann', 'microphone');
      const forCas = { participantIdentity: 'cas', allowedTrackSids: [trackSid] };
      here.me.setTrackSubscriptionPermissions(false, [{ participantIdentity: 'ben', allowAll: true }, forCas]);
    });
    await cas.hasEvents(['trackUnsubscribed camera ann']);
    await cas.seesStateOf('ann', { tracks: { camera: { permission: 'not_allowed', isSubscribed: false } } });
    await cas.hasEvents(['trackSubscriptionPermissionChanged camera ann not_allowed']);
    await cas.receivesAudioOf('ann');
    await ben.receivesVideoOf('ann');
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(true));
    await cas.hasEvents(['trackSubscriptionPermissionChanged camera ann allowed']);
    await cas.receivesVideoOf('ann');
  },
  PERMISSIONS_MS,
);

test(
  'a track that the server mutes is muted for its publisher and for the subscribers',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.receivesMediaOf('ann');
    const { camera, microphone } = (await ann.state()).me.tracks;
    for (const { sid } of [camera, microphone]) await callApi('MutePublishedTrack', { room, identity: 'ann', track_sid: sid, muted: true });
    await ann.seesState({ me: { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } } });
    await ben.seesStateOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
    await Promise.all([ben.receivesNoVideoOf('ann'), ben.receivesNoAudioOf('ann')]);
    await ann.unmute('camera');
    await ben.receivesVideoOf('ann');
  },
  PERMISSIONS_MS,
);

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'a participant without canSubscribe receives data messages, with %j',
  async (options) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann' });
    const ben = await join({ room, identity: 'ben', options, grants: { canSubscribe: false } });
    await ann.run((here) => here.me.publishData(new TextEncoder().encode('hello'), { reliable: true }));
    await ben.receives([{ data: 'hello', from: 'ann', kind: 'RELIABLE' }]);
  },
  PERMISSIONS_MS,
);

test('a participant is an active speaker while its track has sound', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: [sound({ source: 'microphone' })] });
  const ben = await join({ room, identity: 'ben' });
  const cas = await join({ room, identity: 'cas' });
  for (const isSpeaking of [false, true, false]) {
    if (!isSpeaking) await ann.mute('sound');
    else await ann.unmute('sound');
    for (const participant of [ben, cas]) await participant.seesState({ activeSpeakers: isSpeaking ? ['ann'] : [], others: { ann: { isSpeaking } } });
    await ann.seesState({ me: { isSpeaking } });
  }
});

test('a microphone with DTX that beeps once per second is an active speaker', async () => {
  const room = newRoom();
  // With DTX, Opus sends almost no packets between the beeps.
  const ann = await join({ room, identity: 'ann', publish: [sound({ source: 'microphone', dtx: true }, { part: 0.1 })] });
  const ben = await join({ room, identity: 'ben' });
  for (const participant of [ann, ben]) await participant.hasEvents(['activeSpeakersChanged ann']);
});

test('each participant receives its own connection quality, and that of the publishers', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.receivesVideoOf('ann');
  const quality = expect.stringMatching(/^(excellent|good|poor)$/);
  for (const participant of [ann, ben]) await participant.seesState({ me: { quality } }, { within: 25_000 });
  await ben.seesStateOf('ann', { quality }, { within: 25_000 });
});
