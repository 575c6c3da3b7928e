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

  /** Codecs that are turned off for a browser: in both directions, and for publishing. @type {[string, string, string[], string[]][]} */
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

  test.each(cases)('$path turns codecs off for $name, also after a resume', async ({ path, userAgent, codecs, publish }) => {
    const named = (/** @type {string[]} */ mimes) => mimes.map((mime) => ({ mime }));
    const clientConfiguration = { disabledCodecs: { codecs: named(codecs), publish: named(publish) } };
    const who = { room: newRoom(), identity: 'ann' };
    const headers = { 'user-agent': userAgent };
    const ann = await dials({ ...who, dialling: { path, headers } });
    const { enabledPublishCodecs, participant } = await ann.hears('join', { clientConfiguration });
    const mimes = enabledPublishCodecs.map((/** @type {{ mime: string }} */ codec) => codec.mime);
    expect(mimes).toEqual(expect.arrayContaining(['video/VP8', 'audio/opus', 'audio/red']));
    for (const mime of [...codecs, ...publish]) expect(mimes).not.toContain(mime);
    const query = path === '/rtc' ? { reconnect: '1', sid: participant.sid } : {};
    const join = { reconnect: true, participantSid: participant.sid };
    const again = await dials({ ...who, dialling: { path, headers, query, join } });
    await again.hears('reconnect', { clientConfiguration });
  });

  test('a track in a codec that is turned off is published in VP8', async () => {
    const headers = { 'user-agent': BROWSERS[0][1] };
    const ann = await dials({ room: newRoom(), identity: 'ann', dialling: { headers } });
    ann.says('addTrack', { cid: 'a', type: 1, source: 1, simulcastCodecs: [{ codec: 'av1', cid: 'a' }] });
    const { track } = await ann.hears('trackPublished', { cid: 'a' });
    expect(track.codecs).toMatchObject([{ mimeType: 'video/VP8' }]);
  });

  test('declares the frame metadata of a track', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    ann.says('addTrack', { cid: 'a', type: 1, source: 1, packetTrailerFeatures: [0, 1, 0] });
    const { track } = await ann.hears('trackPublished', { cid: 'a' });
    expect([...track.packetTrailerFeatures].sort()).toEqual([0, 1]);
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
    expect(await ann.isClosed()).toBe(1000);
  });

  test('rejects a track while twenty requested ones are not sent', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    for (let index = 1; index <= 21; index += 1) ann.says('addTrack', { cid: `track ${index}`, type: 1, source: 1 });
    const { reason, request } = await ann.hears('requestResponse');
    // LIMIT_EXCEEDED.
    expect([reason, request.case, request.value.cid]).toEqual([3, 'addTrack', 'track 21']);
    expect(ann.all('trackPublished').map(({ cid }) => cid)).toEqual(Array.from({ length: 20 }, (_, index) => `track ${index + 1}`));
  });

  test('rejects a further codec of an unknown track', async () => {
    const ann = await dials({ room: newRoom(), identity: 'ann' });
    ann.says('addTrack', { cid: 'a', sid: 'TR_none', type: 1, source: 1, simulcastCodecs: [{ codec: 'vp8', cid: 'a' }] });
    // NOT_FOUND.
    expect(await ann.hears('requestResponse')).toMatchObject({ reason: 1, request: { case: 'addTrack' } });
    expect(ann.all('trackPublished')).toEqual([]);
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
