'use strict';

// What participants may do changes while they are in a call; who speaks, and how well they are connected.

const { eventually } = require('../../test-support/eventually.js');
const { sound } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const { ask, join, newRoom } = setStage();
const PERMISSIONS_MS = 60_000;
const all = { can_publish: true, can_subscribe: true, can_publish_data: true };

/** @param {string} room @param {string} identity @param {object} permission */
const permits = (room, identity, permission) => ask('UpdateParticipant', { room, identity, permission: { ...all, ...permission } });

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'who may not publish any more has no tracks, and has some again once it may, with %j',
  async (options) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options });
    await ben.seesVideoOf('ann');
    await permits(room, 'ann', { can_publish: false });
    await ann.knows({ me: { permissions: { canPublish: false } } });
    await ben.missesTracksOf('ann');
    await eventually('ann has no tracks', () => ann.state(), ({ me }) => expect(me.tracks).toEqual({}));
    const { error } = await ann.attempt((here) => here.publish('camera'));
    expect(error).toMatchObject({ message: expect.stringContaining('permission') });
    await permits(room, 'ann', {});
    await ann.knows({ me: { permissions: { canPublish: true } } });
    await ann.publishes('camera', 'microphone');
    await ben.seesAndHears('ann');
  },
  PERMISSIONS_MS,
);

test(
  'who may publish certain sources only loses the others',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.seesVideoOf('ann');
    await permits(room, 'ann', { can_publish_sources: ['MICROPHONE'] });
    await ben.missesTracksOf('ann', ['camera']);
    await ben.hears('ann');
    expect(Object.keys((await ann.state()).me.tracks)).toEqual(['microphone']);
  },
  PERMISSIONS_MS,
);

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'who may not subscribe any more is sent nothing, and all again once it may, with %j',
  async (options) => {
    const room = newRoom();
    await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben', options });
    await ben.seesVideoOf('ann');
    await permits(room, 'ben', { can_subscribe: false });
    await ben.lives(['trackUnsubscribed camera ann', 'trackUnsubscribed microphone ann']);
    await permits(room, 'ben', {});
    await ben.seesAndHears('ann');
  },
  PERMISSIONS_MS,
);

test(
  'a publisher decides who may have its tracks',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    const cas = await join({ room, identity: 'cas' });
    await Promise.all([ben.seesVideoOf('ann'), cas.seesVideoOf('ann')]);
    await ann.run((here) => {
      const { trackSid } = here.of('ann', 'microphone');
      const forCas = { participantIdentity: 'cas', allowedTrackSids: [trackSid] };
      here.me.setTrackSubscriptionPermissions(false, [{ participantIdentity: 'ben', allowAll: true }, forCas]);
    });
    await cas.lives(['trackUnsubscribed camera ann']);
    await cas.knowsOf('ann', { tracks: { camera: { permission: 'not_allowed', isSubscribed: false } } });
    await cas.lives(['trackSubscriptionPermissionChanged camera ann not_allowed']);
    await cas.hears('ann');
    await ben.seesVideoOf('ann');
    await ann.run((here) => here.me.setTrackSubscriptionPermissions(true));
    await cas.lives(['trackSubscriptionPermissionChanged camera ann allowed']);
    await cas.seesVideoOf('ann');
  },
  PERMISSIONS_MS,
);

test(
  'a track that the server mutes is muted for its publisher and for the others',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.seesAndHears('ann');
    const { camera, microphone } = (await ann.state()).me.tracks;
    for (const { sid } of [camera, microphone]) await ask('MutePublishedTrack', { room, identity: 'ann', track_sid: sid, muted: true });
    await ann.knows({ me: { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } } });
    await ben.knowsOf('ann', { tracks: { camera: { isMuted: true }, microphone: { isMuted: true } } });
    await Promise.all([ben.seesNoVideoOf('ann'), ben.hearsNothingOf('ann')]);
    await ann.unmutes('camera');
    await ben.seesVideoOf('ann');
  },
  PERMISSIONS_MS,
);

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'who may not subscribe is sent messages all the same, with %j',
  async (options) => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann' });
    const ben = await join({ room, identity: 'ben', options, grants: { canSubscribe: false } });
    await ann.run((here) => here.me.publishData(new TextEncoder().encode('hello'), { reliable: true }));
    await ben.receives([{ data: 'hello', from: 'ann', kind: 'RELIABLE' }]);
  },
  PERMISSIONS_MS,
);

test('who sounds is an active speaker, until it is silent', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: [sound({ source: 'microphone' })] });
  const ben = await join({ room, identity: 'ben' });
  const cas = await join({ room, identity: 'cas' });
  for (const isSpeaking of [false, true, false]) {
    if (!isSpeaking) await ann.mutes('sound');
    else await ann.unmutes('sound');
    for (const who of [ben, cas]) await who.knows({ activeSpeakers: isSpeaking ? ['ann'] : [], others: { ann: { isSpeaking } } });
    await ann.knows({ me: { isSpeaking } });
  }
});

test('a microphone that sounds now and then is an active speaker, with discontinuous transmission', async () => {
  const room = newRoom();
  // While it is silent, Opus sends next to nothing.
  const ann = await join({ room, identity: 'ann', publish: [sound({ source: 'microphone', dtx: true }, { part: 0.1 })] });
  const ben = await join({ room, identity: 'ben' });
  for (const who of [ann, ben]) await who.lives(['activeSpeakersChanged ann']);
});

test('everybody learns how well they are connected, and those whom they see', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.seesVideoOf('ann');
  const quality = expect.stringMatching(/^(excellent|good|poor)$/);
  for (const who of [ann, ben]) await who.knows({ me: { quality } }, { within: 25_000 });
  await ben.knowsOf('ann', { quality }, { within: 25_000 });
});
