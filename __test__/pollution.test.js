'use strict';

// With a prototype-pollution vulnerability, a visitor can add properties to Object.prototype. They must not count as options, fields of
// arguments, variables or platforms. Both providers read arguments with the same code, so the tables run on LiveKit's.

require('./support/environment.js');
const { spawn } = require('node:child_process');
const path = require('node:path');
const { MediaError, createPlatform } = require('../index.js');
const { resultOf, root } = require('./support/child.js');
const { ann, openEmbedded } = require('./support/embedded.js');
const { cleanEnv } = require('./support/environment.js');
const { failureOf } = require('./support/failure.js');
const { held } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt } = require('./support/media.js');
const { temporaryFolder, installCopy } = require('./support/package-copy.js');
const { serve } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

/** Runs `use` while Object.prototype has `properties`, then removes them. */
async function withPolluted(properties, use) {
  Object.assign(Object.prototype, properties);
  try {
    return await use();
  } finally {
    for (const name of Object.keys(properties)) delete Object.prototype[name];
  }
}

const claimsOf = ({ token }) => {
  const { iat: _, maravilla: __, nbf, exp, ...claims } = readToken(token).claims;
  return { ...claims, ttl: exp - nbf };
};

const PARTICIPANT = {
  identity: 'eve',
  name: 'Eve',
  canPublish: false,
  canSubscribe: false,
  canPublishData: false,
  canPublishSources: ['camera'],
  canUpdateOwnMetadata: true,
  hidden: true,
  metadata: 'polluted',
  attributes: { polluted: 'yes' },
  ttlSecs: 2_592_000,
  roomSettings: { maxParticipants: 1 },
};
const SETTINGS = { maxParticipants: 7, emptyTimeoutSecs: 7, departureTimeoutSecs: 7, metadata: 'polluted' };
const OPTIONS = {
  provider: 'embedded',
  url: 'wss://evil.example',
  apiUrl: 'http://evil.example',
  apiKey: 'evil',
  apiSecret: 'evil-secret',
  host: '127.0.0.9',
  port: 1,
  publicUrl: 'wss://evil.example',
  rtcPort: 1,
  rtcAddress: '192.0.2.66',
  webhookUrls: 'https://polluted.example',
  roomPrefix: 'evil:',
  tokenTtlSecs: 1,
  timeoutMs: 1,
  env: { MARAVILLA_MEDIA_ROOM_PREFIX: 'evil:' },
};

describe('a polluted Object.prototype', () => {
  const url = 'ws://rooms.example';
  const media = mediaAt(url);

  test.each(Object.entries(PARTICIPANT))('does not supply %s of a participant', async (field, value) => {
    const { [field]: _, ...participant } = { identity: 'ann' };
    const mint = () => media.generateToken('room', participant).then(claimsOf, ({ code }) => code);
    const expected = await mint();
    expect(await withPolluted({ [field]: value }, mint)).toEqual(expected);
    expect(expected).toEqual(field === 'identity' ? 'INVALID_ARGUMENT' : expect.objectContaining({ sub: 'ann', ttl: 21_600 }));
  });

  test.each(Object.entries(SETTINGS))("does not supply %s of a token's room settings", async (field, value) => {
    const mint = () => media.generateToken('room', { ...ann, roomSettings: {} }).then(claimsOf);
    expect(await withPolluted({ [field]: value }, mint)).toEqual(await mint());
  });

  test('does not supply options of a call', async () => {
    for (const options of [undefined, {}]) {
      const call = () => media.generateToken('room', ann, options);
      expect(await withPolluted({ signal: AbortSignal.abort() }, call)).toMatchObject({ url });
      expect(await withPolluted({ timeoutMs: -1 }, call)).toMatchObject({ url });
    }
  });

  test('does not make an argument misspelt', async () => {
    expect(await withPolluted({ canPublsh: false, timeoutms: 1, hiden: true }, () => media.generateToken('room', ann, {}))).toMatchObject({ url });
  });

  test('does not hide fields of class instances, proxies and records without a prototype', async () => {
    class User {
      get identity() {
        return 'ann';
      }
      get name() {
        return 'Ann';
      }
    }
    class Guest extends User {
      get canPublish() {
        return false;
      }
    }
    const records = [new Guest(), new Proxy(new Guest(), {}), Object.assign(Object.create(null), { ...ann, canPublish: false }), Object.create({ ...ann, canPublish: false })];
    const virtual = new Proxy({}, { get: (_, key) => ({ ...ann, canPublish: false })[key] });
    const wrong = { identity: 'eve', name: 'Eve', canPublish: true };
    for (const record of records) {
      const claims = claimsOf(await withPolluted(wrong, () => media.generateToken('room', record)));
      expect(claims).toMatchObject({ sub: 'ann', name: 'Ann', video: { canPublish: false } });
    }
    expect(claimsOf(await media.generateToken('room', virtual))).toMatchObject({ sub: 'ann', video: { canPublish: false } });
  });

  test('does not change a token of the embedded engine', async () => {
    const { media: embedded } = openEmbedded({ publicUrl: url });
    const { identity: _, ...polluted } = { ...PARTICIPANT, ...SETTINGS, signal: AbortSignal.abort(), timeoutMs: -1, canPublsh: false };
    const mint = () => embedded.generateToken('room', ann, {}).then(claimsOf);
    const expected = await mint();
    expect(await withPolluted(polluted, mint)).toEqual(expected);
  });
});

test.each(Object.entries(SETTINGS))('a polluted Object.prototype does not supply %s of a new room', async (field, value) => {
  const { media } = openEmbedded();
  for (const settings of [undefined, {}]) {
    const name = `room ${settings}`;
    expect(await withPolluted({ [field]: value }, () => media.createRoom(name, settings))).toMatchObject({ maxParticipants: 0 });
    const { token } = await withPolluted({ [field]: value }, () => media.generateToken(name, ann));
    expect(readToken(token).claims).not.toHaveProperty('roomConfig');
  }
});

// In a child process: under jest, the results of the core belong to another realm.
test('a polluted Object.prototype does not turn a result into an error', async () => {
  const result = await resultOf(
    `const { createPlatform } = require(entry);
    Object.prototype.code = 'UNAVAILABLE';
    const { media } = createPlatform({ provider: 'embedded', port: 0 });
    media.createRoom('room', { metadata: 'text' })
      .then(() => media.createRoom('room'))
      .then(({ name }) => name, ({ message }) => message)
      .then((outcome) => { delete Object.prototype.code; console.log(JSON.stringify(outcome)); process.exit(); });`,
  );
  expect(result).toBe('room');
});

test('a polluted Object.prototype does not shorten calls', async () => {
  const hold = held();
  const server = await serve(hold);
  const media = mediaAt(server.url);
  const [one, two] = await withPolluted({ timeoutMs: 1 }, () => [media.listRooms(), media.listRooms({})]);
  // A call with 20 ms times out only after more than the polluted 1 ms has passed.
  expect((await failureOf(media.listRooms({ timeoutMs: 20 }))).code).toBe('TIMEOUT');
  await server.received(3);
  hold.releaseAll();
  expect([await one, await two]).toEqual([[], []]);
});

describe('a polluted Object.prototype and createPlatform', () => {
  test.each(Object.entries(OPTIONS))('does not supply the option %s', async (option, value) => {
    const resultWith = async (options) => {
      const platform = createPlatform(options);
      if (platform.media === undefined) return 'none';
      const minted = await platform.media.generateToken('room', ann);
      const { hostname } = new URL(minted.url);
      const { iss, ...claims } = claimsOf(minted);
      await platform.close();
      return { ...claims, hostname, iss: iss === 'evil' };
    };
    for (const options of [undefined, {}, { provider: 'embedded' }, { url: 'wss://rooms.example', apiKey, apiSecret }]) {
      const expected = await resultWith(options);
      expect(await withPolluted({ [option]: value }, () => resultWith(options))).toEqual(expected);
    }
  });

  test('does not redirect requests to another server', async () => {
    const [server, evil] = [await serve(), await serve()];
    await withPolluted({ apiUrl: evil.url, url: evil.url }, () => createPlatform({ url: server.url, apiKey, apiSecret }).media.listRooms());
    expect([server.requests.length, evil.connections]).toEqual([1, 0]);
  });

  test('does not add properties to an error', async () => {
    const details = { operation: 'evil', retryable: true, upstreamStatus: 200, requestId: 'evil', cause: 'evil' };
    await withPolluted(details, async () => {
      for (const error of [new MediaError('TIMEOUT', 'no answer'), new MediaError('TIMEOUT', 'no answer', {}), await createPlatform({ provider: 'embedded' }).media.createRoom('').catch((caught) => caught)]) {
        expect(Object.keys(error)).toEqual(['code', 'operation', 'retryable']);
        expect([error.operation === 'evil', error.retryable]).toEqual([false, false]);
        expect(Object.hasOwn(error, 'cause')).toBe(false);
      }
    });
  });

  const VARIABLES = {
    MARAVILLA_MEDIA_PROVIDER: 'embedded',
    LIVEKIT_URL: 'wss://evil.example',
    LIVEKIT_API_URL: 'http://127.0.0.1:1',
    LIVEKIT_API_KEY: 'evil',
    LIVEKIT_API_SECRET: 'evil-secret',
    MARAVILLA_MEDIA_HOST: '127.0.0.9',
    MARAVILLA_MEDIA_PORT: '1',
    MARAVILLA_MEDIA_PUBLIC_URL: 'wss://evil.example',
    MARAVILLA_MEDIA_API_KEY: 'evil',
    MARAVILLA_MEDIA_API_SECRET: 'evil-secret',
    MARAVILLA_MEDIA_ROOM_PREFIX: 'evil:',
    MARAVILLA_MEDIA_TOKEN_TTL_SECS: '1',
    MARAVILLA_MEDIA_TIMEOUT_MS: '1',
    HTTP_PROXY: 'http://127.0.0.1:1',
    http_proxy: 'http://127.0.0.1:1',
    NO_PROXY: '*',
  };

  // In child processes: under jest, the prototype of process.env belongs to another realm.
  test('does not supply variables', async () => {
    const result = await resultOf(
      `process.on('warning', () => {});
      const { getPlatform, createPlatform } = require(entry);
      Object.assign(Object.prototype, ${JSON.stringify(VARIABLES)});
      const media = getPlatform().media;
      for (const name of ${JSON.stringify(Object.keys(VARIABLES))}) delete Object.prototype[name];
      console.log(JSON.stringify(media === undefined));`,
    );
    expect(result).toBe(true);
  });

  test('does not supply variables beside those that are set', async () => {
    const server = await serve();
    const mintWith = (polluted) =>
      resultOf(
        `const { getPlatform } = require(entry);
        const polluted = ${JSON.stringify(polluted)};
        Object.assign(Object.prototype, polluted);
        const { media } = getPlatform();
        const listed = media.listRooms();
        for (const name of Object.keys(polluted)) delete Object.prototype[name];
        listed.then(() => media.generateToken('room', { identity: 'ann', name: 'Ann' })).then((minted) => console.log(JSON.stringify(minted)));`,
        { env: { LIVEKIT_URL: server.url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } },
      );
    const { MARAVILLA_MEDIA_PROVIDER: _, ...others } = VARIABLES;
    const expected = claimsOf(await mintWith({}));
    expect(claimsOf(await mintWith(VARIABLES))).toEqual(expected);
    expect(claimsOf(await mintWith(others))).toEqual(expected);
    expect(server.requests).toHaveLength(3);
  });

  test('does not inject a platform, or media into an injected platform', async () => {
    const result = await resultOf(
      `process.on('warning', () => {});
      const { clearPlatformCache, getPlatform } = require(entry);
      const results = [];
      for (const name of ['platform', '__maravilla_platform']) {
        Object.prototype[name] = { media: { evil: true } };
        results.push(Object.hasOwn(getPlatform(), 'media'));
        delete Object.prototype[name];
        clearPlatformCache();
      }
      globalThis.platform = { kv: 1 };
      Object.prototype.media = { evil: true };
      const { media } = getPlatform({ url: 'wss://rooms.example', apiKey: 'k', apiSecret: 's' });
      delete Object.prototype.media;
      results.push(media.evil === undefined && typeof media.createRoom === 'function');
      console.log(JSON.stringify(results));`,
    );
    expect(result).toEqual([false, false, true]);
  });

  test('does not suppress the error for another addon file', async () => {
    const copy = installCopy(temporaryFolder(), 'linked');
    const result = await resultOf(
      `Object.prototype.NAPI_RS_NATIVE_LIBRARY_PATH = '/tmp/evil.node';
      try { require(entry).createPlatform({ provider: 'embedded' }); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
      { entry: copy },
    );
    expect(result.code).toBe('INVALID_CONFIG');
    expect(result.message).toContain('NAPI_RS_NATIVE_LIBRARY_PATH');
  });

  test('does not supply variables or options of the command line', async () => {
    const program = path.join(root, 'bin/maravilla-media.js');
    const script = `Object.assign(Object.prototype, ${JSON.stringify({ ...VARIABLES, key: 'evil', secret: 'evil' })});
      process.argv = [process.argv[0], ${JSON.stringify(program)}, 'dev', '--json', '--port', '0'];
      require(${JSON.stringify(program)});`;
    const child = spawn(process.execPath, ['--eval', script], { env: cleanEnv(), stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    for await (const text of child.stdout.setEncoding('utf8')) {
      printed += text;
      if (printed.includes('\n')) break;
    }
    child.kill();
    expect(JSON.parse(printed)).toMatchObject({ host: '127.0.0.1', apiKey: 'devkey' });
  });
});
