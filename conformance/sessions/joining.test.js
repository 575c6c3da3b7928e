'use strict';

// What a client is told when it joins, and how it speaks to the server.

const { experienceOf } = require('../deviations.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { dials, gather, newRoom } = session;

/** @type {(import('../support/signalling.js').Dialling & { title: string, subscriberPrimary: boolean })[]} */
const WAYS = [
  { title: 'by /rtc', path: '/rtc', subscriberPrimary: true },
  { title: 'by /rtc, with its token in the header', path: '/rtc', tokenIn: 'header', subscriberPrimary: true },
  { title: 'by /rtc/v1', path: '/rtc/v1', subscriberPrimary: false },
  { title: 'by /rtc/v1, with its token in the header', path: '/rtc/v1', tokenIn: 'header', subscriberPrimary: false },
  { title: 'by /rtc/v1, with a join request that is not packed', path: '/rtc/v1', compression: 'NONE', subscriberPrimary: false },
];

describe('whoever joins', () => {
  test.each(WAYS)('$title hears so first', async ({ title: _, subscriberPrimary, ...dialling }) => {
    const ann = await dials({ room: newRoom(), identity: 'ann', dialling });
    const join = await ann.hears('join');
    expect(ann.kinds[0]).toBe('join');
    expect(join).toMatchObject({ subscriberPrimary, participant: { identity: 'ann' } });
  });

  test('learns who it is and what it may do', async () => {
    const claims = { name: 'Ann', metadata: 'about me', attributes: { mood: 'good' } };
    const grants = { canPublish: false, canUpdateOwnMetadata: true, canPublishSources: ['microphone', 'screen_share'] };
    const ann = await dials({ room: newRoom(), identity: 'ann', claims, grants });
    const { participant } = await ann.hears('join');
    expect(participant).toMatchObject({
      sid: expect.stringMatching(/^PA_[0-9A-Za-z]{12}$/),
      identity: 'ann',
      ...claims,
      tracks: [],
      isPublisher: false,
      permission: {
        canSubscribe: true,
        canPublish: false,
        canPublishData: false,
        canUpdateMetadata: true,
        hidden: false,
        canPublishSources: [2, 3],
      },
    });
    expect(Number(participant.joinedAtMs)).toBeGreaterThan(Date.now() - 60_000);
  });

  test('learns of the room and of the server', async () => {
    const room = newRoom();
    const serverInfo = experienceOf('the version of the server', 'is reported', session.kind);
    const ann = await dials({ room, identity: 'ann', claims: { roomConfig: { metadata: 'about us', maxParticipants: 7 } } });
    expect(await ann.hears('join')).toMatchObject({
      room: { sid: expect.stringMatching(/^RM_[0-9A-Za-z]{12}$/), name: room, metadata: 'about us', maxParticipants: 7 },
      serverInfo,
      serverVersion: serverInfo.version,
      pingInterval: 5,
      pingTimeout: 15,
      otherParticipants: [],
      fastPublish: true,
      iceServers: expect.any(Array),
      enabledPublishCodecs: expect.arrayContaining(
        ['audio/opus', 'audio/red', 'video/VP8', 'video/H264', 'video/VP9', 'video/AV1'].map((mime) => expect.objectContaining({ mime })),
      ),
      sifTrailer: expect.any(Uint8Array),
    });
  });

  test('learns who is there', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann');
    const ben = await dials({ room, identity: 'ben' });
    const { otherParticipants } = await ben.hears('join');
    expect(otherParticipants).toMatchObject([{ identity: 'ann', sid: ann.me.sid, permission: { canPublish: true } }]);
  });

  test('gets a token with which it can come back', async () => {
    const room = newRoom();
    const grants = { canPublish: false, canUpdateOwnMetadata: true };
    const ann = await dials({ room, identity: 'ann', claims: { name: 'Ann', metadata: 'about me' }, grants });
    const token = await ann.hears('refreshToken');
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
    expect(exp - Date.now() / 1000).toBeGreaterThan(300);
    const again = await dials({ room, identity: 'ann', dialling: { token } });
    expect(await again.hears('join')).toMatchObject({
      participant: { identity: 'ann', name: 'Ann', metadata: 'about me', permission: { canPublish: false, canUpdateMetadata: true } },
    });
  });
});

describe('a signalling connection', () => {
  test('answers pings', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    ann.says('ping', 5n);
    ann.says('pingReq', { timestamp: 7n, rtt: 1n });
    expect(Number(await ann.hears('pong'))).toBeGreaterThan(Date.now() - 60_000);
    const { lastPingTimestamp, timestamp } = await ann.hears('pongResp');
    expect(lastPingTimestamp).toBe(7n);
    expect(Number(timestamp)).toBeGreaterThan(Date.now() - 60_000);
  });

  test('goes on in the encoding that the client spoke last', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    await ann.hears('refreshToken');
    expect(ann.texts).toEqual([]);
    ann.saysAsText('pingReq', { timestamp: 1n });
    await ann.hears('pongResp', { lastPingTimestamp: 1n });
    expect(ann.texts).toContain('pongResp');
    ann.says('ping', 5n);
    await ann.hears('pong');
    expect(ann.texts).not.toContain('pong');
  });

  test.each([
    ['bytes', Buffer.from('no message')],
    ['text', '{"no": message'],
  ])('ends where the client talks nonsense, in %s', async (_, nonsense) => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    await ann.hears('join');
    ann.socket.send(nonsense);
    await ann.isClosed();
  });

  test('ends when the client leaves', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    await ann.hears('join');
    ann.says('leave', { reason: 1 });
    await ann.isClosed();
  });
});

describe('whoever would resume', () => {
  test.each([
    { path: '/rtc', query: { reconnect: '1', sid: 'PA_none' } },
    { path: '/rtc/v1', join: { reconnect: true, participantSid: 'PA_none' } },
  ])('what is no more is told to join anew, by $path', async (dialling) => {
    const ann = await dials({ room: newRoom(), identity: 'ann', dialling: /** @type {any} */ (dialling) });
    // STATE_MISMATCH, RECONNECT.
    expect(await ann.hears('leave')).toMatchObject({ reason: 6, action: 2 });
    expect(ann.kinds).toEqual(['leave']);
    await ann.isClosed();
  });
});
