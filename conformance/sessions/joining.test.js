'use strict';

// Responses to a join, and the signal connection.

const { expectedInSession } = require('../deviations.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { connectSignalling, joinAll, newRoom } = session;

/** @type {(import('../support/signalling.js').SignalOptions & { title: string, subscriberPrimary: boolean })[]} */
const PATHS = [
  { title: '/rtc', path: '/rtc', subscriberPrimary: true },
  { title: '/rtc with the token in the header', path: '/rtc', tokenIn: 'header', subscriberPrimary: true },
  { title: '/rtc/v1', path: '/rtc/v1', subscriberPrimary: false },
  { title: '/rtc/v1 with the token in the header', path: '/rtc/v1', tokenIn: 'header', subscriberPrimary: false },
  { title: '/rtc/v1 with an uncompressed join request', path: '/rtc/v1', compression: 'NONE', subscriberPrimary: false },
];

describe('a client that joins', () => {
  test.each(PATHS)('receives join first, on $title', async ({ title: _, subscriberPrimary, ...signalling }) => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', signalling });
    const join = await ann.receives('join');
    expect(ann.kinds[0]).toBe('join');
    expect(join).toMatchObject({ subscriberPrimary, participant: { identity: 'ann' } });
  });

  test('receives its own identity and permissions', async () => {
    const claims = { name: 'Ann', metadata: 'about me', attributes: { mood: 'good' } };
    const grants = { canPublish: false, canUpdateOwnMetadata: true, canPublishSources: ['microphone', 'screen_share'] };
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', claims, grants });
    const { participant } = await ann.receives('join');
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

  test('receives the room and the server information', async () => {
    const room = newRoom();
    const serverInfo = expectedInSession('server version', 'reported', session.kind);
    const ann = await connectSignalling({ room, identity: 'ann', claims: { roomConfig: { metadata: 'about us', maxParticipants: 7 } } });
    expect(await ann.receives('join')).toMatchObject({
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

  /** Codecs that are disabled for a browser: in both directions, and for publishing. @type {[string, string, string[], string[]][]} */
  const BROWSERS = [
    ['Firefox', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', ['video/AV1'], []],
    ['Firefox for Android', 'Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0', ['video/AV1'], ['video/H264']],
    [
      'Safari',
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15',
      ['video/AV1'],
      ['video/VP9'],
    ],
  ];
  const paths = /** @type {const} */ (['/rtc', '/rtc/v1']);
  const cases = BROWSERS.flatMap(([name, userAgent, codecs, publish]) => paths.map((path) => ({ name, path, userAgent, codecs, publish })));

  test.each(cases)('receives the disabled codecs of $name on $path, also after a resume', async ({ path, userAgent, codecs, publish }) => {
    const named = (/** @type {string[]} */ mimes) => mimes.map((mime) => ({ mime }));
    const clientConfiguration = { disabledCodecs: { codecs: named(codecs), publish: named(publish) } };
    const options = { room: newRoom(), identity: 'ann' };
    const headers = { 'user-agent': userAgent };
    const ann = await connectSignalling({ ...options, signalling: { path, headers } });
    const { enabledPublishCodecs, participant } = await ann.receives('join', { clientConfiguration });
    const mimes = enabledPublishCodecs.map((/** @type {{ mime: string }} */ codec) => codec.mime);
    expect(mimes).toEqual(expect.arrayContaining(['video/VP8', 'audio/opus', 'audio/red']));
    for (const mime of [...codecs, ...publish]) expect(mimes).not.toContain(mime);
    const query = path === '/rtc' ? { reconnect: '1', sid: participant.sid } : {};
    const join = { reconnect: true, participantSid: participant.sid };
    const again = await connectSignalling({ ...options, signalling: { path, headers, query, join } });
    await again.receives('reconnect', { clientConfiguration });
  });

  test('is assigned VP8 if it requests a disabled codec', async () => {
    const headers = { 'user-agent': BROWSERS[0][1] };
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', signalling: { headers } });
    ann.send('addTrack', { cid: 'a', type: 1, source: 1, simulcastCodecs: [{ codec: 'av1', cid: 'a' }] });
    const { track } = await ann.receives('trackPublished', { cid: 'a' });
    expect(track.codecs).toMatchObject([{ mimeType: 'video/VP8' }]);
  });

  test('receives the frame metadata features of its track', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    ann.send('addTrack', { cid: 'a', type: 1, source: 1, packetTrailerFeatures: [0, 1, 0] });
    const { track } = await ann.receives('trackPublished', { cid: 'a' });
    expect([...track.packetTrailerFeatures].sort()).toEqual([0, 1]);
  });

  test('receives the other participants', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann');
    const ben = await connectSignalling({ room, identity: 'ben' });
    const { otherParticipants } = await ben.receives('join');
    expect(otherParticipants).toMatchObject([{ identity: 'ann', sid: ann.me.sid, permission: { canPublish: true } }]);
  });

  test('receives a token with which it can join again', async () => {
    const room = newRoom();
    const grants = { canPublish: false, canUpdateOwnMetadata: true };
    const ann = await connectSignalling({ room, identity: 'ann', claims: { name: 'Ann', metadata: 'about me' }, grants });
    const token = await ann.receives('refreshToken');
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
    expect(exp - Date.now() / 1000).toBeGreaterThan(300);
    const again = await connectSignalling({ room, identity: 'ann', signalling: { token } });
    expect(await again.receives('join')).toMatchObject({
      participant: { identity: 'ann', name: 'Ann', metadata: 'about me', permission: { canPublish: false, canUpdateMetadata: true } },
    });
  });
});

describe('a signal connection', () => {
  test('responds to pings', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    ann.send('ping', 5n);
    ann.send('pingReq', { timestamp: 7n, rtt: 1n });
    expect(Number(await ann.receives('pong'))).toBeGreaterThan(Date.now() - 60_000);
    const { lastPingTimestamp, timestamp } = await ann.receives('pongResp');
    expect(lastPingTimestamp).toBe(7n);
    expect(Number(timestamp)).toBeGreaterThan(Date.now() - 60_000);
  });

  test('uses the encoding of the last request', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    await ann.receives('refreshToken');
    expect(ann.texts).toEqual([]);
    ann.sendAsJson('pingReq', { timestamp: 1n });
    await ann.receives('pongResp', { lastPingTimestamp: 1n });
    expect(ann.texts).toContain('pongResp');
    ann.send('ping', 5n);
    await ann.receives('pong');
    expect(ann.texts).not.toContain('pong');
  });

  test.each([
    ['binary', Buffer.from('no message')],
    ['text', '{"no": message'],
  ])('is closed after an invalid message, %s', async (_, invalid) => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    await ann.receives('join');
    ann.socket.send(invalid);
    await ann.isClosed();
  });

  test('is closed when the client leaves', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    await ann.receives('join');
    ann.send('leave', { reason: 1 });
    expect(await ann.isClosed()).toBe(1000);
  });

  test('rejects a track while twenty requested tracks are not sent', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    for (let index = 1; index <= 21; index += 1) ann.send('addTrack', { cid: `track ${index}`, type: 1, source: 1 });
    const { reason, request } = await ann.receives('requestResponse');
    // 3: LIMIT_EXCEEDED.
    expect([reason, request.case, request.value.cid]).toEqual([3, 'addTrack', 'track 21']);
    expect(ann.all('trackPublished').map(({ cid }) => cid)).toEqual(Array.from({ length: 20 }, (_, index) => `track ${index + 1}`));
  });

  test('rejects a backup codec for an unknown track', async () => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
    ann.send('addTrack', { cid: 'a', sid: 'TR_none', type: 1, source: 1, simulcastCodecs: [{ codec: 'vp8', cid: 'a' }] });
    // NOT_FOUND.
    expect(await ann.receives('requestResponse')).toMatchObject({ reason: 1, request: { case: 'addTrack' } });
    expect(ann.all('trackPublished')).toEqual([]);
  });
});

describe('a client that resumes an unknown session', () => {
  test.each([
    { path: '/rtc', query: { reconnect: '1', sid: 'PA_none' } },
    { path: '/rtc/v1', join: { reconnect: true, participantSid: 'PA_none' } },
  ])('receives leave with the action RECONNECT, on $path', async (signalling) => {
    const ann = await connectSignalling({ room: newRoom(), identity: 'ann', signalling: /** @type {any} */ (signalling) });
    // STATE_MISMATCH, RECONNECT.
    expect(await ann.receives('leave')).toMatchObject({ reason: 6, action: 2 });
    expect(ann.kinds).toEqual(['leave']);
    await ann.isClosed();
  });
});

test.each([
  { code: undefined, received: 1005 },
  { code: 1000, received: 1000 },
  { code: 4000, received: 4000 },
])('a client that closes its connection with code $code receives $received', async ({ code, received }) => {
  const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
  await ann.receives('join');
  ann.socket.close(code);
  expect(await ann.isClosed()).toBe(received);
});
