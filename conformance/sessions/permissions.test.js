'use strict';

// The server enforces permissions, whatever the client requests.

const { eventually } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { callApi, connectSignalling, joinAll, join, newRoom } = session;
const RESTRICT_MS = 120_000;

// Numbers of the protocol.
const [DATA, AUDIO, VIDEO] = [2, 0, 1];
const [UNKNOWN, CAMERA, MICROPHONE, SCREEN_SHARE] = [0, 1, 2, 3];
const [OK, NOT_FOUND, NOT_ALLOWED, LIMIT_EXCEEDED, UNSUPPORTED_TYPE] = [0, 1, 2, 3, 5];
const ALL = { can_subscribe: true, can_publish: true, can_publish_data: true };

/** Requests a track. Gives 'published', or the reason of the rejection. @param {import('../support/signalling.js').SignalClient} client @param {Record<string, any>} track */
async function addTrack(client, track) {
  client.send('addTrack', { name: track.cid, ...track });
  const look = async () => {
    const published = client.all('trackPublished').find(({ cid }) => cid === track.cid);
    const rejected = client.all('requestResponse').find(({ request }) => request?.value?.cid === track.cid);
    return published ? 'published' : rejected?.reason;
  };
  return eventually(`${track.cid} has a response`, look, (response) => expect(response).toBeDefined());
}

describe('a track', () => {
  test.each([
    { grants: { canPublish: false }, allowed: [], denied: [CAMERA, MICROPHONE, SCREEN_SHARE] },
    { grants: { canPublish: false, canPublishSources: ['camera'] }, allowed: [], denied: [CAMERA] },
    { grants: { canPublishSources: ['microphone'] }, allowed: [MICROPHONE], denied: [CAMERA, SCREEN_SHARE] },
    { grants: { canPublishSources: ['MICROPHONE', 'mic'] }, allowed: [], denied: [UNKNOWN, CAMERA, MICROPHONE, SCREEN_SHARE] },
    { grants: { canPublishSources: ['camera', 'mic'] }, allowed: [CAMERA], denied: [UNKNOWN, MICROPHONE] },
    { grants: {}, allowed: [CAMERA, MICROPHONE, SCREEN_SHARE], denied: [] },
  ])('with $grants, only tracks of the allowed sources are published', async ({ grants, allowed, denied }) => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', grants });
    const track = (/** @type {number} */ source) => ({ cid: `source ${source}`, source, type: source === MICROPHONE ? AUDIO : VIDEO });
    for (const source of allowed) expect(await addTrack(ann, track(source))).toBe('published');
    for (const source of denied) expect(await addTrack(ann, track(source))).toBe(NOT_ALLOWED);
  });

  test('that is neither audio nor video is rejected', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    expect(await addTrack(ann, { cid: 'data', type: DATA, source: CAMERA })).toBe(UNSUPPORTED_TYPE);
  });

  test('that is unknown cannot be muted', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    ann.send('mute', { sid: 'TR_none', muted: true });
    await ann.receives('requestResponse', { reason: NOT_FOUND, request: { case: 'mute' } });
  });

  test('is unpublished when its source is no longer allowed, and the others stay', async () => {
    const room = newRoom();
    const [ann, ben] = await joinAll(room, 'ann', 'ben');
    await ann.publishAudio('voice');
    await ann.publishVideo('face');
    for (const track of ['voice', 'face']) await ben.hasEvent(`trackSubscribed ann ${track}`);
    await callApi('UpdateParticipant', { room, identity: 'ann', permission: { ...ALL, can_publish_sources: ['MICROPHONE'] } });
    await ben.hasEvent('trackUnpublished ann face');
    expect(ben.events).not.toContain('trackUnpublished ann voice');
    await ben.receivesAudioOf('ann');
    expect((await callApi('GetParticipant', { room, identity: 'ann' })).tracks).toMatchObject([{ name: 'voice' }]);
  });

  test('can be published once the permission is granted', async () => {
    const room = newRoom();
    const ann = await connectSignalling({ room, identity: 'ann', grants: { canPublish: false } });
    expect(await addTrack(ann, { cid: 'before', type: AUDIO, source: MICROPHONE })).toBe(NOT_ALLOWED);
    await callApi('UpdateParticipant', { room, identity: 'ann', permission: ALL });
    await ann.receivesInfo('ann', { permission: { canPublish: true } });
    expect(await addTrack(ann, { cid: 'after', type: AUDIO, source: MICROPHONE })).toBe('published');
  });
});

describe('tracks of other participants', () => {
  test('are not sent without canSubscribe, until it is granted', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann');
    await ann.publishAudio();
    const ben = await join({ room, identity: 'ben', grants: { canSubscribe: false } });
    const cleo = await join({ room, identity: 'cleo' });
    await cleo.receivesAudioOf('ann');
    expect(ben.publication('ann', 'voice')?.track).toBeUndefined();
    await callApi('UpdateParticipant', { room, identity: 'ben', permission: ALL });
    await ben.receivesAudioOf('ann');
    await callApi('UpdateParticipant', { room, identity: 'ben', permission: { ...ALL, can_subscribe: false } });
    await ben.receivesNoAudioOf('ann');
  });

  test('are sent to the participants that their publisher allows', async () => {
    const room = newRoom();
    const [ann, ben] = await joinAll(room, 'ann', 'ben');
    const { sid } = await ann.publishAudio();
    await ben.receivesAudioOf('ann');
    await setPermissionUntil(room, ann, { allParticipants: false, trackPermissions: [] }, () => ben.receivesNoAudioOf('ann'));
    const trackPermissions = [{ participantIdentity: 'ben', trackSids: [sid] }];
    await setPermissionUntil(room, ann, { allParticipants: false, trackPermissions }, () => ben.receivesAudioOf('ann'));
  }, RESTRICT_MS);
});

/**
 * Sets the subscription permission of a publisher, and waits for its effect. On a busy machine livekit-server has kept sending after it
 * had accepted a permission: there, it is sent up to three times.
 * @param {string} room @param {import('../support/rtc-client.js').RtcClient} client @param {Record<string, any>} permission
 * @param {() => Promise<any>} effect
 */
async function setPermissionUntil(room, client, permission, effect) {
  for (let attempts = session.kind === 'engine' ? 1 : 3; ; attempts -= 1) {
    await setPermission(room, client, permission);
    try {
      return await effect();
    } catch (error) {
      if (attempts === 1) throw error;
    }
  }
}

/**
 * Takes over the signal connection, because rtc-node can't send this request. The participant's own client takes it back afterwards.
 * @param {string} room @param {import('../support/rtc-client.js').RtcClient} client @param {Record<string, any>} permission
 */
async function setPermission(room, client, permission) {
  const join = { reconnect: true, participantSid: client.me.sid };
  const signalling = await connectSignalling({ room, identity: client.identity, signalling: { join } });
  signalling.send('subscriptionPermission', permission);
  // A response to this request shows that the permission was handled, because requests are handled in order. Without a response, the
  // participant's own client resumed first, so try again. A ping would not do: livekit-server responds to pings before it handles requests.
  signalling.send('updateMetadata', { requestId: 7, metadata: '', name: '', attributes: {} });
  const isHandled = () => signalling.kinds.includes('requestResponse');
  const look = async () => isHandled() || signalling.closed !== undefined;
  await eventually('the permission is handled', look, (is) => expect(is).toBe(true));
  if (!isHandled()) await setPermission(room, client, permission);
}

describe('updateMetadata', () => {
  test('is rejected without canUpdateOwnMetadata', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    ann.send('updateMetadata', { requestId: 7, metadata: 'mine', name: '', attributes: {} });
    const rejection = { requestId: 7, reason: NOT_ALLOWED, request: { case: 'updateMetadata' } };
    expect(await ann.receives('requestResponse', rejection)).toMatchObject({ message: 'does not have permission to update own metadata' });
  });

  test('is broadcast with canUpdateOwnMetadata', async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', grants: { canUpdateOwnMetadata: true } });
    const ben = await connectSignalling({ room, identity: 'ben' });
    await ben.receives('join');
    await ann.me.updateMetadata('mine');
    await ann.me.updateName('Ann');
    await ann.me.setAttributes({ mood: 'good' });
    const expected = { metadata: 'mine', name: 'Ann', attributes: { mood: 'good' } };
    await ben.receivesInfo('ann', expected);
    expect(await callApi('GetParticipant', { room, identity: 'ann' })).toMatchObject(expected);
  });

  test('gets a response, and is rejected past the limits', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', grants: { canUpdateOwnMetadata: true } });
    const none = { name: '', metadata: '', attributes: {} };
    ann.send('updateMetadata', { ...none, requestId: 1, metadata: 'mine' });
    await ann.receives('requestResponse', { requestId: 1, reason: OK });
    ann.send('updateMetadata', { ...none, requestId: 2, name: 'n'.repeat(257) });
    await ann.receives('requestResponse', { requestId: 2, reason: LIMIT_EXCEEDED, message: 'exceeds name length limit' });
    ann.send('updateMetadata', { ...none, requestId: 3, metadata: 'm'.repeat(512 * 1024 + 1) });
    await ann.receives('requestResponse', { requestId: 3, reason: LIMIT_EXCEEDED, message: 'exceeds metadata size limit' });
    ann.send('updateMetadata', { ...none, requestId: 4, attributes: { a: 'b'.repeat(64 * 1024) } });
    await ann.receives('requestResponse', { requestId: 4, reason: LIMIT_EXCEEDED, message: 'exceeds attributes size limit' });
  });

  test('is allowed and rejected as the permission changes', async () => {
    const room = newRoom();
    const ann = await connectSignalling({ room, identity: 'ann' });
    await ann.receives('join');
    await callApi('UpdateParticipant', { room, identity: 'ann', permission: { ...ALL, can_update_metadata: true } });
    ann.send('updateMetadata', { requestId: 1, metadata: 'mine', name: '', attributes: {} });
    await ann.receives('requestResponse', { requestId: 1, reason: OK });
    await callApi('UpdateParticipant', { room, identity: 'ann', permission: ALL });
    ann.send('updateMetadata', { requestId: 2, metadata: 'mine again', name: '', attributes: {} });
    await ann.receives('requestResponse', { requestId: 2, reason: NOT_ALLOWED });
  });
});
