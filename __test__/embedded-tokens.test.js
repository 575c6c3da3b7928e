'use strict';

// Tokens of the embedded engine: validity, revocation, and secrets.

require('./support/environment.js');
const { inspect } = require('node:util');
const { AccessToken, RoomServiceClient, TokenVerifier } = require('livekit-server-sdk');
const { createPlatform, getPlatform } = require('../index.js');
const { setEnv, warnings } = require('./support/configuration.js');
const { ann, apiKey, apiSecret, calls, httpOf, occupy, openEmbedded, sign, startingCalls, validate } = require('./support/embedded.js');
const { failureOf } = require('./support/failure.js');
const { serve } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

const pair = { apiKey, apiSecret };
const seconds = () => Math.floor(Date.now() / 1000);

/** Waits until after that second. @param {number} second */
async function after(second) {
  while (seconds() <= second) await new Promise((resolve) => setTimeout(resolve, 1000 - (Date.now() % 1000)));
}

describe('a token of the embedded engine', () => {
  test("has LiveKit's claims, and one more", async () => {
    const { media } = openEmbedded(pair);
    const { token, expiresAt } = await media.generateToken('room', { ...ann, metadata: 'm', attributes: { a: 'b' }, ttlSecs: 77, roomSettings: { maxParticipants: 3 } });
    const { header, claims } = readToken(token, apiSecret);
    expect(header).toEqual({ alg: 'HS256', typ: 'JWT' });
    expect(claims).toEqual({
      iss: apiKey,
      sub: 'ann',
      name: 'Ann',
      nbf: expect.any(Number),
      exp: expiresAt / 1000,
      metadata: 'm',
      attributes: { a: 'b' },
      video: { roomJoin: true, room: 'room', canPublish: true, canSubscribe: true, canPublishData: true },
      roomConfig: expect.objectContaining({ maxParticipants: 3 }),
      maravilla: expect.anything(),
    });
    expect(await new TokenVerifier(apiKey, apiSecret).verify(token)).toMatchObject({ sub: 'ann', video: { room: 'room' } });
  });

  test('is accepted for a new and for an existing room', async () => {
    const { media } = openEmbedded();
    const { token, url } = await media.generateToken('room', ann);
    expect(await validate(url, token)).toBe(200);
    await media.createRoom('room');
    expect(await validate(url, token)).toBe(200);
  });

  test('is accepted after its room has ended', async () => {
    const { media } = openEmbedded();
    await media.createRoom('room', { emptyTimeoutSecs: 1 });
    const { token, url } = await media.generateToken('room', ann);
    while ((await media.listRooms()).length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await validate(url, token)).toBe(200);
  });

  test('is rejected if it was changed or signed with another key', async () => {
    const { media } = openEmbedded(pair);
    const { token, url } = await media.generateToken('room', ann);
    const { claims } = readToken(token);
    const [head, , signature] = token.split('.');
    const other = Buffer.from(JSON.stringify({ ...claims, video: { ...claims.video, room: 'other' } })).toString('base64url');
    expect(await validate(url, sign(claims))).toBe(200);
    for (const wrong of [`${head}.${other}.${signature}`, sign(claims, 'another secret'), sign({ ...claims, iss: 'another key' }), sign({ ...claims, exp: seconds() - 120 })]) {
      expect(await validate(url, wrong)).toBe(401);
    }
  });
});

describe('deleteRoom revokes', () => {
  test('all earlier tokens, permanently', async () => {
    const { media } = openEmbedded();
    await media.createRoom('room');
    const tokens = await Promise.all(['ann', 'bob', 'carol'].map((identity) => media.generateToken('room', { identity, name: '' })));
    const statuses = () => Promise.all(tokens.map(({ url, token }) => validate(url, token)));
    expect(await statuses()).toEqual([200, 200, 200]);
    await media.deleteRoom('room');
    expect(await statuses()).toEqual([401, 401, 401]);
    await media.createRoom('room');
    expect(await statuses()).toEqual([401, 401, 401]);
    await media.deleteRoom('room');
    expect(await statuses()).toEqual([401, 401, 401]);
  });

  test('no later token, even of the same second', async () => {
    const { media } = openEmbedded();
    let sameSecond = 0;
    for (let round = 0; round < 20; round += 1) {
      await media.createRoom('room');
      const before = await media.generateToken('room', ann);
      await media.deleteRoom('room');
      const later = await media.generateToken('room', ann);
      if (readToken(before.token).claims.nbf === readToken(later.token).claims.nbf) sameSecond += 1;
      expect([await validate(before.url, before.token), await validate(later.url, later.token)]).toEqual([401, 200]);
      await media.createRoom('room');
      expect([await validate(before.url, before.token), await validate(later.url, later.token)]).toEqual([401, 200]);
    }
    expect(sameSecond).toBeGreaterThan(0);
  });

  test('tokens of a room that was not created', async () => {
    const { media } = openEmbedded();
    const { token, url } = await media.generateToken('room', ann);
    await media.deleteRoom('room');
    expect(await validate(url, token)).toBe(401);
  });

  test('tokens of that room only', async () => {
    const { media } = openEmbedded({ roomPrefix: 'a:' });
    const other = await media.generateToken('other', ann);
    const long = await media.generateToken('room more', ann);
    const token = await media.generateToken('room', ann);
    await media.deleteRoom('room');
    expect(await Promise.all([other, long, token].map((each) => validate(each.url, each.token)))).toEqual([200, 200, 401]);
  });

  test('tokens of other signers, unless their nbf is after the second of the deletion', async () => {
    const { media } = openEmbedded(pair);
    const url = await media.mediaUrl();
    const claims = { iss: apiKey, sub: 'ann', exp: seconds() + 600, video: { roomJoin: true, room: 'room' } };
    const foreign = (nbf) => validate(url, sign(nbf === undefined ? claims : { ...claims, nbf }));
    expect([await foreign(undefined), await foreign(seconds())]).toEqual([200, 200]);
    const [earliest] = [seconds(), await media.deleteRoom('room')];
    const latest = seconds();
    for (const nbf of [undefined, 0, earliest - 1, earliest]) expect([nbf, await foreign(nbf)]).toEqual([nbf, 401]);
    expect(await foreign(latest + 1)).toBe(200);
    await media.createRoom('room');
    expect([await foreign(undefined), await foreign(earliest), await foreign(latest + 1)]).toEqual([401, 401, 200]);
  });

  test('earlier tokens of livekit-server-sdk, and none from the next second on', async () => {
    const { media } = openEmbedded(pair);
    const url = await media.mediaUrl();
    const mint = async () => {
      const token = new AccessToken(apiKey, apiSecret, { identity: 'ann' });
      token.addGrant({ roomJoin: true, room: 'room' });
      return await token.toJwt();
    };
    const before = await mint();
    expect(await validate(url, before)).toBe(200);
    await media.deleteRoom('room');
    expect(await validate(url, before)).toBe(401);
    await after(seconds());
    expect([await validate(url, before), await validate(url, await mint())]).toEqual([401, 200]);
  });

  test('tokens with nbf 0 of that room, with 401', async () => {
    const { media } = openEmbedded(pair);
    const url = await media.mediaUrl();
    const claims = { iss: apiKey, sub: 'ann', nbf: 0, exp: seconds() + 600, video: { roomJoin: true, room: 'room' } };
    expect(await validate(url, sign(claims))).toBe(200);
    await media.deleteRoom('room');
    expect(await validate(url, sign(claims))).toBe(401);
    expect(await validate(url, sign({ ...claims, video: { ...claims.video, room: 'other' } }))).toBe(200);
  });
});

describe("LiveKit's own DeleteRoom revokes nothing", () => {
  test('called by livekit-server-sdk', async () => {
    const { media } = openEmbedded(pair);
    const url = await media.mediaUrl();
    const client = new RoomServiceClient(httpOf(url), apiKey, apiSecret);
    await client.createRoom({ name: 'room', maxParticipants: 3 });
    expect(await media.listRooms()).toMatchObject([{ name: 'room', maxParticipants: 3 }]);
    const before = await media.generateToken('room', ann);
    const undated = sign({ iss: apiKey, sub: 'ann', exp: seconds() + 600, video: { roomJoin: true, room: 'room' } });
    const statuses = () => Promise.all([before.token, undated].map((token) => validate(url, token)));
    await client.deleteRoom('room');
    expect(await media.listRooms()).toEqual([]);
    expect(await statuses()).toEqual([200, 200]);
    await client.createRoom({ name: 'room' });
    expect(await statuses()).toEqual([200, 200]);
    await media.deleteRoom('room');
    expect(await statuses()).toEqual([401, 401]);
    await client.createRoom({ name: 'room' });
    await client.deleteRoom('room');
    expect(await statuses()).toEqual([401, 401]);
  });

  test('called by the provider livekit with the URL of the engine', async () => {
    const url = await openEmbedded(pair).media.mediaUrl();
    const { media } = createPlatform({ provider: 'livekit', url, ...pair });
    await media.createRoom('room');
    const { token } = await media.generateToken('room', ann);
    await media.deleteRoom('room');
    expect(await validate(url, token)).toBe(200);
  });
});

describe("with production's LIVEKIT variables in the environment", () => {
  const production = { apiKey: 'key-of-production', apiSecret: 'secret-of-production-that-signs-real-calls' };

  test.each([
    // No further options, because test files of one process share this engine.
    ['getPlatform', () => getPlatform({ provider: 'embedded' })],
    ['createPlatform', () => openEmbedded({ env: process.env })],
    ['createPlatform with the provider in env', () => openEmbedded({ provider: undefined, env: { ...process.env, MARAVILLA_MEDIA_PROVIDER: 'embedded' } })],
  ])('they are not used for tokens, URLs and requests: %s', async (_, open) => {
    const server = await serve();
    setEnv({ ...production, url: server.url, apiUrl: server.url });
    process.env.HTTP_PROXY = server.url;
    const { media } = open();
    const results = await Promise.all(Object.values(calls).map((call) => call(media)));
    const { token, url } = await media.generateToken('room', ann);
    expect(await validate(url, token)).toBe(200);
    expect(server.connections).toBe(0);
    expect(url).not.toContain(String(server.port));
    const { claims } = readToken(token);
    const shown = JSON.stringify([results, claims, url]);
    for (const secret of [...Object.values(production), server.url, String(server.port)]) expect(shown).not.toContain(secret);
    expect(() => readToken(token, production.apiSecret)).toThrow('another secret');
    const theirs = sign({ iss: production.apiKey, sub: 'ann', exp: seconds() + 600, video: { roomJoin: true, room: 'room' } }, production.apiSecret);
    expect(await validate(url, theirs)).toBe(401);
    // Other test files run engines in other processes.
    expect(warnings().filter((warning) => !warning.includes('an engine of another process'))).toEqual([]);
  });
});

describe('the secret', () => {
  const textsOf = (value) => inspect(value, { depth: Infinity, showHidden: true, getters: true }) + JSON.stringify(value) + String(value);

  test('is not shown by platforms, media and the state of the process', async () => {
    const shared = getPlatform({ provider: 'embedded', host: '127.0.81.2', port: 0, ...pair });
    const own = openEmbedded(pair);
    const before = [shared, shared.media, own, own.media, Object.values(own.media), Object.getOwnPropertyDescriptors(own), globalThis[Symbol.for('@maravilla-labs/platform')]];
    await own.media.createRoom('room');
    for (const value of before) {
      expect(textsOf(value)).not.toContain(apiSecret);
      expect(textsOf(value)).not.toContain(apiKey);
    }
  });

  test('is not shown by errors, and neither are tokens', async () => {
    const { port } = await occupy();
    const taken = openEmbedded({ ...pair, port });
    const closed = openEmbedded(pair);
    const { token } = await closed.media.generateToken('room', ann);
    await closed.close();
    const { media } = openEmbedded(pair);
    const failures = await Promise.all([
      ...Object.values(startingCalls).flatMap((call) => [call(taken.media), call(closed.media)]),
      media.createRoom(apiSecret.repeat(9)),
      media.removeParticipant('room', 'unknown'),
      media.generateToken('room', { identity: apiSecret.repeat(9) }),
    ].map(failureOf));
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['INVALID_CONFIG', 'UNAVAILABLE', 'INVALID_ARGUMENT', 'PARTICIPANT_NOT_FOUND']));
    for (const failure of failures) {
      expect(textsOf(failure)).not.toContain(apiSecret);
      expect(textsOf(failure)).not.toContain(token);
      expect(textsOf(failure)).not.toMatch(/eyJ/);
    }
  });

  test('is in no response of the engine', async () => {
    const { media } = openEmbedded(pair);
    const { token, url } = await media.generateToken('room', ann);
    const bearer = { authorization: `Bearer ${token}` };
    const post = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } };
    const responses = await Promise.all([
      fetch(httpOf(url)),
      fetch(`${httpOf(url)}/rtc/validate?access_token=${token}x`),
      fetch(`${httpOf(url)}/rtc/validate?access_token=${token}`),
      fetch(`${httpOf(url)}/nowhere`, { headers: bearer }),
      fetch(`${httpOf(url)}/twirp/livekit.RoomService/ListRooms`, { ...post, headers: { ...post.headers, ...bearer } }),
      fetch(`${httpOf(url)}/twirp/livekit.RoomService/ListRooms`, { ...post, headers: { ...post.headers, authorization: `Bearer ${token}x` } }),
    ]);
    for (const response of responses) {
      const shown = (await response.text()) + JSON.stringify([...response.headers]);
      expect(shown).not.toContain(apiSecret);
      expect(shown).not.toContain(token.split('.')[1]);
    }
  });
});
