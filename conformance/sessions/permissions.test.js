'use strict';

// What participants may do and what not, whatever their clients say.

const { eventually } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { ask, dials, gather, join, newRoom } = session;
const RESTRICT_MS = 120_000;

// As the protocol numbers them.
const [DATA, AUDIO, VIDEO] = [2, 0, 1];
const [UNKNOWN, CAMERA, MICROPHONE, SCREEN_SHARE] = [0, 1, 2, 3];
const [OK, NOT_FOUND, NOT_ALLOWED, LIMIT_EXCEEDED, UNSUPPORTED_TYPE] = [0, 1, 2, 3, 5];
const ALL = { can_subscribe: true, can_publish: true, can_publish_data: true };

/** Asks to publish; what came of it. @param {import('../support/signalling.js').Signaller} who @param {Record<string, any>} track */
async function adds(who, track) {
  who.says('addTrack', { name: track.cid, ...track });
  const look = async () => {
    const published = who.all('trackPublished').find(({ cid }) => cid === track.cid);
    const refused = who.all('requestResponse').find(({ request }) => request?.value?.cid === track.cid);
    return published ? 'published' : refused?.reason;
  };
  return eventually(`${track.cid} is answered`, look, (answer) => expect(answer).toBeDefined());
}

describe('a track', () => {
  test.each([
    { grants: { canPublish: false }, may: [], mayNot: [CAMERA, MICROPHONE, SCREEN_SHARE] },
    { grants: { canPublish: false, canPublishSources: ['camera'] }, may: [], mayNot: [CAMERA] },
    { grants: { canPublishSources: ['microphone'] }, may: [MICROPHONE], mayNot: [CAMERA, SCREEN_SHARE] },
    { grants: { canPublishSources: ['MICROPHONE', 'mic'] }, may: [], mayNot: [UNKNOWN, CAMERA, MICROPHONE, SCREEN_SHARE] },
    { grants: { canPublishSources: ['camera', 'mic'] }, may: [CAMERA], mayNot: [UNKNOWN, MICROPHONE] },
    { grants: {}, may: [CAMERA, MICROPHONE, SCREEN_SHARE], mayNot: [] },
  ])('is published only with $grants, though the client asks for it', async ({ grants, may, mayNot }) => {
    const ann = await dials({ room: newRoom(), identity: 'ann', grants });
    const track = (/** @type {number} */ source) => ({ cid: `source ${source}`, source, type: source === MICROPHONE ? AUDIO : VIDEO });
    for (const source of may) expect(await adds(ann, track(source))).toBe('published');
    for (const source of mayNot) expect(await adds(ann, track(source))).toBe(NOT_ALLOWED);
  });

  test('is sound or pictures', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    expect(await adds(ann, { cid: 'data', type: DATA, source: CAMERA })).toBe(UNSUPPORTED_TYPE);
  });

  test('that is not there is not muted', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    ann.says('mute', { sid: 'TR_none', muted: true });
    await ann.hears('requestResponse', { reason: NOT_FOUND, request: { case: 'mute' } });
  });

  test('is taken away when its source is no longer allowed, while others stay', async () => {
    const room = newRoom();
    const [ann, ben] = await gather(room, 'ann', 'ben');
    await ann.speaks('voice');
    await ann.shows('face');
    for (const track of ['voice', 'face']) await ben.notes(`trackSubscribed ann ${track}`);
    await ask('UpdateParticipant', { room, identity: 'ann', permission: { ...ALL, can_publish_sources: ['MICROPHONE'] } });
    await ben.notes('trackUnpublished ann face');
    expect(ben.events).not.toContain('trackUnpublished ann voice');
    await ben.hears('ann');
    expect((await ask('GetParticipant', { room, identity: 'ann' })).tracks).toMatchObject([{ name: 'voice' }]);
  });

  test('can be published once that is allowed', async () => {
    const room = newRoom();
    const ann = await dials({ room, identity: 'ann', grants: { canPublish: false } });
    expect(await adds(ann, { cid: 'before', type: AUDIO, source: MICROPHONE })).toBe(NOT_ALLOWED);
    await ask('UpdateParticipant', { room, identity: 'ann', permission: ALL });
    await ann.isTold('ann', { permission: { canPublish: true } });
    expect(await adds(ann, { cid: 'after', type: AUDIO, source: MICROPHONE })).toBe('published');
  });
});

describe('the tracks of others', () => {
  test('are not sent to whom may not subscribe, until that changes', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann');
    await ann.speaks();
    const ben = await join({ room, identity: 'ben', grants: { canSubscribe: false } });
    const cleo = await join({ room, identity: 'cleo' });
    await cleo.hears('ann');
    expect(ben.publication('ann', 'voice')?.track).toBeUndefined();
    await ask('UpdateParticipant', { room, identity: 'ben', permission: ALL });
    await ben.hears('ann');
    await ask('UpdateParticipant', { room, identity: 'ben', permission: { ...ALL, can_subscribe: false } });
    await ben.hearsNothing('ann');
  });

  test('are sent to those whom their publisher lets have them', async () => {
    const room = newRoom();
    const [ann, ben] = await gather(room, 'ann', 'ben');
    const { sid } = await ann.speaks();
    await ben.hears('ann');
    await restrict(room, ann, { allParticipants: false, trackPermissions: [] }, () => ben.hearsNothing('ann'));
    const trackPermissions = [{ participantIdentity: 'ben', trackSids: [sid] }];
    await restrict(room, ann, { allParticipants: false, trackPermissions }, () => ben.hears('ann'));
  }, RESTRICT_MS);
});

/**
 * Sets who may subscribe to a participant's tracks, and waits for the effect. On a busy machine livekit-server has kept sending after it
 * had accepted a permission: there, it is sent up to three times.
 * @param {string} room @param {import('../support/caller.js').Caller} caller @param {Record<string, any>} permission
 * @param {() => Promise<any>} effect
 */
async function restrict(room, caller, permission, effect) {
  for (let tries = session.kind === 'engine' ? 1 : 3; ; tries -= 1) {
    await permit(room, caller, permission);
    try {
      return await effect();
    } catch (error) {
      if (tries === 1) throw error;
    }
  }
}

/**
 * The participant's own client cannot say so: its signalling is taken over for it, until it takes it back.
 * @param {string} room @param {import('../support/caller.js').Caller} caller @param {Record<string, any>} permission
 */
async function permit(room, caller, permission) {
  const join = { reconnect: true, participantSid: caller.me.sid };
  const signalling = await dials({ room, identity: caller.identity, dialling: { join } });
  signalling.says('subscriptionPermission', permission);
  // What comes after it is refused in order, so the permission has been taken; if its own client was faster, it has not.
  // A ping would not show it: livekit-server answers those before the participant has anything.
  signalling.says('updateMetadata', { requestId: 7, metadata: '', name: '', attributes: {} });
  const isTaken = () => signalling.kinds.includes('requestResponse');
  const look = async () => isTaken() || signalling.closed !== undefined;
  await eventually('the permission is answered', look, (is) => expect(is).toBe(true));
  if (!isTaken()) await permit(room, caller, permission);
}

describe('what a participant says of itself', () => {
  test('is refused without the grant', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    ann.says('updateMetadata', { requestId: 7, metadata: 'mine', name: '', attributes: {} });
    const refusal = { requestId: 7, reason: NOT_ALLOWED, request: { case: 'updateMetadata' } };
    expect(await ann.hears('requestResponse', refusal)).toMatchObject({ message: 'does not have permission to update own metadata' });
  });

  test('is told to all with the grant', async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', grants: { canUpdateOwnMetadata: true } });
    const ben = await dials({ room, identity: 'ben' });
    await ben.hears('join');
    await ann.me.updateMetadata('mine');
    await ann.me.updateName('Ann');
    await ann.me.setAttributes({ mood: 'good' });
    const mine = { metadata: 'mine', name: 'Ann', attributes: { mood: 'good' } };
    await ben.isTold('ann', mine);
    expect(await ask('GetParticipant', { room, identity: 'ann' })).toMatchObject(mine);
  });

  test('is answered, and refused where it is too much', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann', grants: { canUpdateOwnMetadata: true } });
    const none = { name: '', metadata: '', attributes: {} };
    ann.says('updateMetadata', { ...none, requestId: 1, metadata: 'mine' });
    await ann.hears('requestResponse', { requestId: 1, reason: OK });
    ann.says('updateMetadata', { ...none, requestId: 2, name: 'n'.repeat(257) });
    await ann.hears('requestResponse', { requestId: 2, reason: LIMIT_EXCEEDED, message: 'exceeds name length limit' });
    ann.says('updateMetadata', { ...none, requestId: 3, metadata: 'm'.repeat(512 * 1024 + 1) });
    await ann.hears('requestResponse', { requestId: 3, reason: LIMIT_EXCEEDED, message: 'exceeds metadata size limit' });
    ann.says('updateMetadata', { ...none, requestId: 4, attributes: { a: 'b'.repeat(64 * 1024) } });
    await ann.hears('requestResponse', { requestId: 4, reason: LIMIT_EXCEEDED, message: 'exceeds attributes size limit' });
  });

  test('can be allowed and forbidden while it is there', async () => {
    const room = newRoom();
    const ann = await dials({ room, identity: 'ann' });
    await ann.hears('join');
    await ask('UpdateParticipant', { room, identity: 'ann', permission: { ...ALL, can_update_metadata: true } });
    ann.says('updateMetadata', { requestId: 1, metadata: 'mine', name: '', attributes: {} });
    await ann.hears('requestResponse', { requestId: 1, reason: OK });
    await ask('UpdateParticipant', { room, identity: 'ann', permission: ALL });
    ann.says('updateMetadata', { requestId: 2, metadata: 'mine again', name: '', attributes: {} });
    await ann.hears('requestResponse', { requestId: 2, reason: NOT_ALLOWED });
  });
});
