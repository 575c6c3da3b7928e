'use strict';

require('./support/environment.js');
const { TokenVerifier } = require('livekit-server-sdk');
const { livekit } = require('./support/fault-server.js');
const { apiKey, apiSecret, providers } = require('./support/media.js');
const { readToken } = require('./support/token.js');

const url = 'wss://rooms.example';
const ann = { identity: 'ann', name: 'Ann' };

describe.each(providers)('a join token of $name', ({ open }) => {
  const media = open(url);

  async function claimsOf(participant, { roomId = 'huddle', from = media } = {}) {
    const { token } = await from.generateToken(roomId, { ...ann, ...participant });
    return readToken(token, apiSecret).claims;
  }

  test('is signed with HS256 by the configured key and secret', async () => {
    const { token } = await media.generateToken('huddle', ann);
    const { header, claims } = readToken(token, apiSecret);
    expect(header).toEqual({ alg: 'HS256', typ: 'JWT' });
    expect(claims.iss).toBe(apiKey);
    expect(() => readToken(token, `${apiSecret}.`)).toThrow();
  });

  test("is taken by LiveKit's own verifier, which reads the same from it", async () => {
    const { token } = await media.generateToken('huddle', {
      ...ann,
      metadata: '{"role":"host"}',
      attributes: { team: 'blue' },
      canPublish: false,
      canPublishSources: ['camera', 'screen_share_audio'],
      roomSettings: { maxParticipants: 12, emptyTimeoutSecs: 60 },
    });
    const claims = await new TokenVerifier(apiKey, apiSecret).verify(token);
    expect(claims.sub).toBe('ann');
    expect(claims.name).toBe('Ann');
    expect(claims.metadata).toBe('{"role":"host"}');
    expect(claims.attributes).toEqual({ team: 'blue' });
    expect(claims.video).toMatchObject({ roomJoin: true, room: 'huddle', canPublish: false, canSubscribe: true, canPublishData: true });
    await expect(new TokenVerifier(apiKey, 'another secret').verify(token)).rejects.toThrow();
  });

  test('starts now, and ends after the default of six hours', async () => {
    const before = Math.floor(Date.now() / 1000);
    const { token, expiresAt } = await media.generateToken('huddle', ann);
    const after = Math.floor(Date.now() / 1000);
    const { nbf, exp } = readToken(token).claims;
    expect(nbf).toBeGreaterThanOrEqual(before);
    expect(nbf).toBeLessThanOrEqual(after);
    expect(exp).toBe(nbf + 21_600);
    expect(expiresAt).toBe(exp * 1000);
  });

  test('ends after the configured time', async () => {
    const { nbf, exp } = await claimsOf({}, { from: open(url, { tokenTtlSecs: 90 }) });
    expect(exp - nbf).toBe(90);
  });

  test.each([1, 77, 2_592_000])('ends after its own %i seconds, whatever is configured', async (ttlSecs) => {
    const from = open(url, { tokenTtlSecs: 90 });
    const { token, expiresAt } = await from.generateToken('huddle', { ...ann, ttlSecs });
    const { nbf, exp } = readToken(token).claims;
    expect(exp - nbf).toBe(ttlSecs);
    expect(expiresAt).toBe(exp * 1000);
  });

  test('is for one participant', async () => {
    expect(await claimsOf({ identity: 'user#tab/1 😀', name: 'Änn ✨' })).toMatchObject({ sub: 'user#tab/1 😀', name: 'Änn ✨' });
  });

  test('opens one room and says nothing more, all three permissions written', async () => {
    const { video } = await claimsOf({});
    expect(video).toEqual({ roomJoin: true, room: 'huddle', canPublish: true, canSubscribe: true, canPublishData: true });
  });

  test("names the room as the server has it, with the prefix", async () => {
    const { video } = await claimsOf({}, { from: open(url, { roomPrefix: 't1:' }) });
    expect(video.room).toBe('t1:huddle');
  });

  describe.each(['canPublish', 'canSubscribe', 'canPublishData'])('permission %s', (permission) => {
    const others = { canPublish: true, canSubscribe: true, canPublishData: true };

    test.each([true, false])('is written as given: %s', async (given) => {
      const { video } = await claimsOf({ [permission]: given });
      expect(video).toMatchObject({ ...others, [permission]: given });
    });

    test('is true where it is undefined', async () => {
      const { video } = await claimsOf({ [permission]: undefined });
      expect(video).toMatchObject(others);
    });
  });

  test('allows to update its own metadata, or to hide, only where asked to', async () => {
    expect((await claimsOf({ canUpdateOwnMetadata: true })).video.canUpdateOwnMetadata).toBe(true);
    expect((await claimsOf({ canUpdateOwnMetadata: false })).video.canUpdateOwnMetadata ?? false).toBe(false);
    expect((await claimsOf({ hidden: true })).video.hidden).toBe(true);
    expect((await claimsOf({ hidden: false })).video.hidden ?? false).toBe(false);
  });

  test.each([
    [['camera']],
    [['microphone']],
    [['screen_share']],
    [['screen_share_audio']],
    [['screen_share_audio', 'camera']],
    [['camera', 'microphone', 'screen_share', 'screen_share_audio']],
  ])('allows to publish only %j', async (canPublishSources) => {
    const { video } = await claimsOf({ canPublishSources });
    expect([...video.canPublishSources].sort()).toEqual([...canPublishSources].sort());
  });

  test('carries metadata and attributes as they are', async () => {
    const attributes = { team: 'blue', 'lk.x': '', 'ключ 😀': '"quoted"\n' };
    expect(await claimsOf({ metadata: '{"a":"b\\n"}', attributes })).toMatchObject({ metadata: '{"a":"b\\n"}', attributes });
  });

  test.each([
    ['one empty timeout sets both timers', { emptyTimeoutSecs: 60 }, { emptyTimeout: 60, departureTimeout: 60 }],
    ['each timer has its own', { emptyTimeoutSecs: 60, departureTimeoutSecs: 5 }, { emptyTimeout: 60, departureTimeout: 5 }],
    ['the server keeps its own departure', { emptyTimeoutSecs: 60, departureTimeoutSecs: 0 }, { emptyTimeout: 60, departureTimeout: 0 }],
    ['only the departure', { departureTimeoutSecs: 5 }, { departureTimeout: 5 }],
    ['most participants', { maxParticipants: 12 }, { maxParticipants: 12 }],
    ['metadata', { metadata: 'm' }, { metadata: 'm' }],
    ['the largest numbers', { maxParticipants: 2 ** 32 - 1, emptyTimeoutSecs: 2 ** 32 - 1 }, { maxParticipants: 2 ** 32 - 1, emptyTimeout: 2 ** 32 - 1, departureTimeout: 2 ** 32 - 1 }],
  ])('carries what the room is made with, as LiveKit reads it: %s', async (_, roomSettings, expected) => {
    const { roomConfig } = await claimsOf({ roomSettings });
    // Refuses any name that LiveKit does not know.
    const read = livekit.RoomConfiguration.fromJson(roomConfig);
    expect(read.equals(new livekit.RoomConfiguration(expected))).toBe(true);
  });

  test('has no room settings where none are given', async () => {
    for (const roomSettings of [undefined, {}, { maxParticipants: 0, emptyTimeoutSecs: 0 }]) {
      const { roomConfig } = await claimsOf({ roomSettings });
      const read = livekit.RoomConfiguration.fromJson(roomConfig ?? {});
      expect(read.equals(new livekit.RoomConfiguration())).toBe(true);
    }
  });

  test('never carries what else a user record holds', async () => {
    const record = {
      ...ann,
      id: 7,
      email: 'ann@private.example',
      passwordHash: 'hash-of-ann',
      roomAdmin: true,
      roomCreate: true,
      roomList: true,
      roomRecord: true,
      recorder: true,
      ingressAdmin: true,
      video: { roomAdmin: true },
      sip: { admin: true },
      room: 'another',
      kind: 'agent',
      sha256: 'x',
      sub: 'root',
      exp: 1,
    };
    const { token } = await media.generateToken('huddle', record);
    const { claims } = readToken(token, apiSecret);
    expect(claims.sub).toBe('ann');
    expect(claims.video).toEqual({ roomJoin: true, room: 'huddle', canPublish: true, canSubscribe: true, canPublishData: true });
    const text = JSON.stringify(claims);
    for (const extra of ['private.example', 'hash-of-ann', 'roomAdmin', 'roomCreate', 'roomList', 'roomRecord', 'ingressAdmin', '"admin"', 'agent', 'another']) {
      expect(text).not.toContain(extra);
    }
    for (const name of Object.keys(claims)) {
      expect(['iss', 'sub', 'iat', 'nbf', 'exp', 'jti', 'name', 'video', 'sip', 'metadata', 'attributes', 'sha256', 'kind', 'roomConfig', 'roomPreset', 'maravilla']).toContain(name);
    }
  });

  test('is a plain result: token, url and expiry', async () => {
    const result = await media.generateToken('huddle', ann);
    expect(Object.keys(result).sort()).toEqual(['expiresAt', 'token', 'url']);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  });

  test.each([
    ['wss://rooms.example', 'wss://rooms.example'],
    ['https://rooms.example', 'wss://rooms.example'],
    ['ws://rooms.example:7880', 'ws://rooms.example:7880'],
    ['http://rooms.example:7880', 'ws://rooms.example:7880'],
  ])('comes with the address to connect to: %s', async (configured, handedOut) => {
    expect((await open(configured).generateToken('huddle', ann)).url).toBe(handedOut);
  });

  test('is made anew each time, and 500 at once do not mix', async () => {
    const tokens = await Promise.all(Array.from({ length: 500 }, (_, i) => media.generateToken(`room ${i}`, { identity: `user ${i}`, name: '' })));
    tokens.forEach(({ token }, i) => {
      const { claims } = readToken(token, apiSecret);
      expect([claims.sub, claims.video.room]).toEqual([`user ${i}`, `room ${i}`]);
    });
  });
});
