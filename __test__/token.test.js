'use strict';

require('./support/environment.js');
const { TokenVerifier } = require('livekit-server-sdk');
const { livekit } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt } = require('./support/media.js');
const { readToken } = require('./support/token.js');

const url = 'wss://rooms.example';
const ann = { identity: 'ann', name: 'Ann' };

// Both providers mint tokens with the same code; embedded-tokens.test.js has the claim that the embedded engine adds.
describe('a join token', () => {
  const media = mediaAt(url);

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

  test("is accepted by livekit-server-sdk's verifier, with the same claims", async () => {
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

  test('is valid from now on, for six hours by default', async () => {
    const before = Math.floor(Date.now() / 1000);
    const { token, expiresAt } = await media.generateToken('huddle', ann);
    const after = Math.floor(Date.now() / 1000);
    const { nbf, exp } = readToken(token).claims;
    expect(nbf).toBeGreaterThanOrEqual(before);
    expect(nbf).toBeLessThanOrEqual(after);
    expect(exp).toBe(nbf + 21_600);
    expect(expiresAt).toBe(exp * 1000);
  });

  test('expires after the configured tokenTtlSecs', async () => {
    const { nbf, exp } = await claimsOf({}, { from: mediaAt(url, { tokenTtlSecs: 90 }) });
    expect(exp - nbf).toBe(90);
  });

  test.each([1, 77, 2_592_000])('expires after ttlSecs: %i, whatever tokenTtlSecs is', async (ttlSecs) => {
    const from = mediaAt(url, { tokenTtlSecs: 90 });
    const { token, expiresAt } = await from.generateToken('huddle', { ...ann, ttlSecs });
    const { nbf, exp } = readToken(token).claims;
    expect(exp - nbf).toBe(ttlSecs);
    expect(expiresAt).toBe(exp * 1000);
  });

  test('has the identity and name of the participant', async () => {
    expect(await claimsOf({ identity: 'user#tab/1 😀', name: 'Änn ✨' })).toMatchObject({ sub: 'user#tab/1 😀', name: 'Änn ✨' });
  });

  test('grants one room, with all three permissions written', async () => {
    const { video } = await claimsOf({});
    expect(video).toEqual({ roomJoin: true, room: 'huddle', canPublish: true, canSubscribe: true, canPublishData: true });
  });

  test('names the room with the prefix', async () => {
    const { video } = await claimsOf({}, { from: mediaAt(url, { roomPrefix: 't1:' }) });
    expect(video.room).toBe('t1:huddle');
  });

  describe.each(['canPublish', 'canSubscribe', 'canPublishData'])('permission %s', (permission) => {
    const others = { canPublish: true, canSubscribe: true, canPublishData: true };

    test.each([true, false])('is written as given: %s', async (given) => {
      const { video } = await claimsOf({ [permission]: given });
      expect(video).toMatchObject({ ...others, [permission]: given });
    });

    test('is true if undefined', async () => {
      const { video } = await claimsOf({ [permission]: undefined });
      expect(video).toMatchObject(others);
    });
  });

  test('grants canUpdateOwnMetadata and hidden only if they are true', async () => {
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
  ])('grants to publish only %j', async (canPublishSources) => {
    const { video } = await claimsOf({ canPublishSources });
    expect([...video.canPublishSources].sort()).toEqual([...canPublishSources].sort());
  });

  test('contains metadata and attributes unchanged', async () => {
    const attributes = { team: 'blue', 'lk.x': '', 'ключ 😀': '"quoted"\n' };
    expect(await claimsOf({ metadata: '{"a":"b\\n"}', attributes })).toMatchObject({ metadata: '{"a":"b\\n"}', attributes });
  });

  test.each([
    ['emptyTimeoutSecs sets both timeouts', { emptyTimeoutSecs: 60 }, { emptyTimeout: 60, departureTimeout: 60 }],
    ['both timeouts', { emptyTimeoutSecs: 60, departureTimeoutSecs: 5 }, { emptyTimeout: 60, departureTimeout: 5 }],
    ['departureTimeoutSecs 0 keeps the default of the server', { emptyTimeoutSecs: 60, departureTimeoutSecs: 0 }, { emptyTimeout: 60, departureTimeout: 0 }],
    ['departureTimeoutSecs alone', { departureTimeoutSecs: 5 }, { departureTimeout: 5 }],
    ['maxParticipants', { maxParticipants: 12 }, { maxParticipants: 12 }],
    ['metadata', { metadata: 'm' }, { metadata: 'm' }],
    ['the largest numbers', { maxParticipants: 2 ** 32 - 1, emptyTimeoutSecs: 2 ** 32 - 1 }, { maxParticipants: 2 ** 32 - 1, emptyTimeout: 2 ** 32 - 1, departureTimeout: 2 ** 32 - 1 }],
  ])('contains the room settings as LiveKit reads them: %s', async (_, roomSettings, expected) => {
    const { roomConfig } = await claimsOf({ roomSettings });
    // fromJson throws for an unknown field.
    const read = livekit.RoomConfiguration.fromJson(roomConfig);
    expect(read.equals(new livekit.RoomConfiguration(expected))).toBe(true);
  });

  test('has no room settings if none are given', async () => {
    for (const roomSettings of [undefined, {}, { maxParticipants: 0, emptyTimeoutSecs: 0 }]) {
      const { roomConfig } = await claimsOf({ roomSettings });
      const read = livekit.RoomConfiguration.fromJson(roomConfig ?? {});
      expect(read.equals(new livekit.RoomConfiguration())).toBe(true);
    }
  });

  test('does not contain other fields of a user record', async () => {
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

  test('is returned in a plain object with url and expiresAt', async () => {
    const result = await media.generateToken('huddle', ann);
    expect(Object.keys(result).sort()).toEqual(['expiresAt', 'token', 'url']);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  });

  test.each([
    ['wss://rooms.example', 'wss://rooms.example'],
    ['https://rooms.example', 'wss://rooms.example'],
    ['ws://rooms.example:7880', 'ws://rooms.example:7880'],
    ['http://rooms.example:7880', 'ws://rooms.example:7880'],
  ])('is returned with the WebSocket URL: %s', async (configured, handedOut) => {
    expect((await mediaAt(configured).generateToken('huddle', ann)).url).toBe(handedOut);
  });

  test('is minted per call: 500 concurrent calls do not mix', async () => {
    const tokens = await Promise.all(Array.from({ length: 500 }, (_, i) => media.generateToken(`room ${i}`, { identity: `user ${i}`, name: '' })));
    tokens.forEach(({ token }, i) => {
      const { claims } = readToken(token, apiSecret);
      expect([claims.sub, claims.video.room]).toEqual([`user ${i}`, `room ${i}`]);
    });
  });
});
