'use strict';

// getPlatform, clearPlatformCache and createPlatform: which platform they return, and when it changes.

require('./support/environment.js');
const { inspect } = require('node:util');
const { clearPlatformCache, createPlatform, getPlatform, isMediaError } = require('../index.js');
const { resultOf } = require('./support/child.js');
const { KEY_AND_SECRET, VARIABLES: { livekit: VARIABLES }, WHOLE, ann, claimsOf, setEnv, variables, warnings } = require('./support/configuration.js');
const { failureIn } = require('./support/failure.js');
const { held } = require('./support/fault-server.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');
const { serve } = require('./support/serve.js');

describe('getPlatform', () => {
  test('returns the same platform and media each time', () => {
    setEnv(WHOLE);
    const platform = getPlatform();
    const { media } = platform;
    expect(getPlatform()).toBe(platform);
    expect(getPlatform({})).toBe(platform);
    expect(getPlatform().media).toBe(media);
    expect(getPlatform({ env: variables(WHOLE) })).toBe(platform);
    expect(getPlatform({ ...WHOLE })).toBe(platform);
  });

  const changed = {
    provider: 'none',
    url: 'wss://other.example',
    apiUrl: 'http://other.example',
    apiKey: 'another',
    apiSecret: 'another-secret-than-that',
    roomPrefix: 'other:',
    tokenTtlSecs: 5,
    timeoutMs: 5,
  };
  test.each(Object.entries(changed))('with another %s throws INVALID_CONFIG, and the message names it', (field, value) => {
    const platform = getPlatform(WHOLE);
    const error = failureIn(() => getPlatform({ ...WHOLE, [field]: value }));
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: 'getPlatform', retryable: false });
    expect(error.message).toContain(field);
    const shown = inspect(error, { showHidden: true, depth: Infinity });
    for (const secret of [WHOLE.apiSecret, changed.apiSecret]) expect(shown).not.toContain(secret);
    expect(getPlatform()).toBe(platform);
  });

  test('with several differences names the first', () => {
    getPlatform(WHOLE);
    const { message } = failureIn(() => getPlatform({ ...WHOLE, tokenTtlSecs: 5, url: 'wss://other.example' }));
    expect(message).toContain('url');
    expect(message).not.toContain('tokenTtlSecs');
  });

  test('succeeds after a call that threw', async () => {
    failureIn(() => getPlatform({ ...WHOLE, url: 'not a url' }));
    expect(await getPlatform(WHOLE).media.mediaUrl()).toBe(WHOLE.url);
  });

  test('returns the same platform after a hot reload, which loads the package again in the same realm', () => {
    setEnv(WHOLE);
    const platform = getPlatform();
    const { media } = platform;
    jest.resetModules();
    const reloaded = require('../index.js');
    expect(reloaded.getPlatform).not.toBe(getPlatform);
    expect(reloaded.getPlatform()).toBe(platform);
    expect(reloaded.getPlatform().media).toBe(media);
    const error = failureIn(() => reloaded.getPlatform({ url: 'wss://other.example' }));
    expect(error.code).toBe('INVALID_CONFIG');
    expect(isMediaError(error)).toBe(true);
    reloaded.clearPlatformCache();
    expect(getPlatform()).not.toBe(platform);
  });

  test.each(['copied', 'linked'])('is shared by copies of the package in one realm (addon %s)', async (addon) => {
    const copy = installCopy(temporaryFolder(), addon);
    const result = await resultOf(
      `const [one, two] = [require(entry), require(${JSON.stringify(copy)})];
      const failures = (run) => { try { run(); } catch (error) { return [one.isMediaError(error), two.isMediaError(error), error.code]; } };
      (async () => {
        const first = one.getPlatform();
        const token = await two.getPlatform().media.generateToken('room', { identity: 'ann', name: 'Ann' });
        const own = await two.createPlatform(${JSON.stringify(WHOLE)}).media.generateToken('room', { identity: 'ann', name: 'Ann' });
        const ownOfOne = await one.createPlatform(${JSON.stringify(WHOLE)}).media.generateToken('room', { identity: 'ann', name: 'Ann' });
        const rejection = await two.getPlatform().media.createRoom('').catch((error) => [one.isMediaError(error), two.isMediaError(error), error.code]);
        console.log(JSON.stringify({
          different: one.getPlatform !== two.getPlatform,
          same: first === two.getPlatform(),
          media: first.media === two.getPlatform().media,
          tokens: [token, own, ownOfOne].map(({ url }) => url),
          thrown: failures(() => two.getPlatform({ url: 'wss://other.example' })),
          rejection,
        }));
      })();`,
      { env: variables(WHOLE) },
    );
    expect(result).toEqual({
      different: true,
      same: true,
      media: true,
      tokens: [WHOLE.url, WHOLE.url, WHOLE.url],
      thrown: [true, true, 'INVALID_CONFIG'],
      rejection: [true, true, 'INVALID_ARGUMENT'],
    });
  });
});

describe('a changed environment', () => {
  const OTHER = { ...WHOLE, url: 'wss://other.example' };

  test('makes a new platform, and the old one keeps its configuration', async () => {
    const before = getPlatform();
    expect(before.media).toBeUndefined();
    setEnv(WHOLE);
    const first = getPlatform();
    expect(first).not.toBe(before);
    setEnv(OTHER);
    const second = getPlatform();
    expect(second).not.toBe(first);
    expect(getPlatform()).toBe(second);
    expect([before.media, await first.media.mediaUrl(), await second.media.mediaUrl()]).toEqual([undefined, WHOLE.url, OTHER.url]);
    expect(warnings()).toEqual([]);
  });

  test('in env makes a new platform, and getPlatform() without env reads the same env afterwards', async () => {
    getPlatform({ env: variables(WHOLE) });
    const platform = getPlatform({ env: variables(OTHER) });
    expect(await platform.media.mediaUrl()).toBe(OTHER.url);
    setEnv({ ...WHOLE, url: 'wss://third.example' });
    expect(getPlatform()).toBe(platform);
    expect(getPlatform({})).toBe(platform);
  });

  test.each(Object.keys({ ...WHOLE, provider: 0, roomPrefix: 0, tokenTtlSecs: 0 }))('without %s makes a new platform', (field) => {
    const env = variables({ ...WHOLE, provider: 'livekit', roomPrefix: 'a:', tokenTtlSecs: 5 });
    const platform = getPlatform({ env });
    const { [VARIABLES[field]]: _, ...rest } = env;
    expect(getPlatform({ env: rest })).not.toBe(platform);
    expect(getPlatform()).not.toBe(platform);
  });

  test('is read once in production, unless env is passed', () => {
    setEnv(WHOLE);
    process.env.NODE_ENV = 'production';
    try {
      const platform = getPlatform();
      setEnv(OTHER);
      expect(getPlatform()).toBe(platform);
      expect(getPlatform({ env: variables(OTHER) })).not.toBe(platform);
    } finally {
      process.env.NODE_ENV = 'test';
    }
  });

  test('of variables that are not read keeps the platform', () => {
    setEnv(WHOLE);
    const platform = getPlatform();
    setEnv({ host: '127.0.0.1', port: 1, apiKey: 'other' }, 'embedded');
    process.env.SOMETHING_ELSE = 'changed';
    expect(getPlatform()).toBe(platform);
    delete process.env.SOMETHING_ELSE;
  });

  test('does not change options of an earlier call', async () => {
    setEnv(WHOLE);
    const platform = getPlatform({ url: 'wss://code.example', roomPrefix: 'code:' });
    setEnv({ ...OTHER, roomPrefix: 'env:' });
    expect(getPlatform()).toBe(platform);
    expect(getPlatform({ url: 'wss://code.example' })).toBe(platform);
    setEnv({ ...OTHER, tokenTtlSecs: 77 });
    const changed = getPlatform();
    expect(changed).not.toBe(platform);
    const { url, video, nbf, exp } = await claimsOf(changed.media);
    expect([url, video.room, exp - nbf]).toEqual(['wss://code.example', 'code:room', 77]);
  });

  test('does not allow other options in code', () => {
    setEnv(WHOLE);
    getPlatform({ roomPrefix: 'a:' });
    setEnv(OTHER);
    const error = failureIn(() => getPlatform({ roomPrefix: 'b:' }));
    expect(error.code).toBe('INVALID_CONFIG');
    expect(error.message).toContain('roomPrefix');
  });

  test('does not show a secret', () => {
    getPlatform({ env: variables(WHOLE) });
    const platform = getPlatform({ env: variables({ ...WHOLE, apiSecret: 'another-secret-than-that' }) });
    const kept = globalThis[Symbol.for('@maravilla-labs/platform')];
    expect(inspect([platform, kept], { depth: Infinity, showHidden: true, getters: true })).not.toContain('another-secret-than-that');
  });

  test('that is invalid leaves media undefined with a warning, until it is valid again', async () => {
    setEnv(WHOLE);
    getPlatform();
    setEnv({ ...WHOLE, url: 'not a url' });
    expect([getPlatform().media, getPlatform().media]).toEqual([undefined, undefined]);
    expect(warnings()).toHaveLength(1);
    setEnv(OTHER);
    expect(await getPlatform().media.mediaUrl()).toBe(OTHER.url);
  });

  test('gives an injected platform the new media', async () => {
    const injected = (globalThis.platform = { kv: 1 });
    setEnv(WHOLE);
    expect(getPlatform()).toBe(injected);
    setEnv(OTHER);
    expect(getPlatform()).toBe(injected);
    expect(await injected.media.mediaUrl()).toBe(OTHER.url);
    clearPlatformCache();
    expect(injected).toEqual({ kv: 1 });
  });
});

describe('clearPlatformCache', () => {
  test('makes the next call read options and environment again', async () => {
    const first = getPlatform(WHOLE);
    clearPlatformCache();
    const second = getPlatform({ ...WHOLE, url: 'wss://other.example' });
    expect(second).not.toBe(first);
    expect(await second.media.mediaUrl()).toBe('wss://other.example');
    // The earlier platform still works.
    expect(await first.media.mediaUrl()).toBe(WHOLE.url);
    expect((await first.media.generateToken('room', ann)).url).toBe(WHOLE.url);
  });

  test('can be called without a platform, and twice', () => {
    clearPlatformCache();
    clearPlatformCache();
    expect(getPlatform().media).toBeUndefined();
  });

  test('does not end a pending call', async () => {
    const hold = held();
    const server = await serve(hold);
    const creation = getPlatform({ ...KEY_AND_SECRET, url: server.url }).media.createRoom('room');
    await server.received(1);
    clearPlatformCache();
    hold.releaseAll();
    expect((await creation).name).toBe('room');
  });
});

test('methods work without their object', async () => {
  const server = await serve();
  const { createRoom, deleteRoom, generateToken, getRoom, listParticipants, listRooms, mediaUrl, removeParticipant, sendData } = createPlatform({ ...KEY_AND_SECRET, url: server.url }).media;
  expect((await createRoom('room')).name).toBe('room');
  expect(await listRooms()).toEqual([]);
  expect(await listParticipants('room')).toEqual([]);
  expect((await generateToken('room', ann)).token).toMatch(/^eyJ/);
  expect(await mediaUrl()).toBe(server.url.replace('http', 'ws'));
  expect(await getRoom('room')).toBeNull();
  await sendData('room', 'hello');
  await removeParticipant('room', 'ann');
  await deleteRoom('room');
  expect(await mediaUrl.call({ unrelated: true })).toBe(server.url.replace('http', 'ws'));
});

describe('createPlatform', () => {
  test('returns a new platform each time, and does not change the shared one', () => {
    const [first, second] = [createPlatform(WHOLE), createPlatform(WHOLE)];
    expect(first).not.toBe(second);
    expect(first.media).not.toBe(second.media);
    expect(getPlatform()).not.toBe(first);
    expect(getPlatform().media).toBeUndefined();
  });

  test.each([
    ['livekit', WHOLE],
    ['none', {}],
  ])('returns a platform that can be closed more than once: %s', async (_, options) => {
    const platform = createPlatform(options);
    expect(await platform.close()).toBeUndefined();
    expect(await platform.close()).toBeUndefined();
    expect(await platform[Symbol.asyncDispose]()).toBeUndefined();
    const { close } = createPlatform(options);
    expect(await close()).toBeUndefined();
    expect(Object.keys(platform)).toEqual(options === WHOLE ? ['media'] : []);
  });

  test('close() waits for pending calls', async () => {
    const hold = held();
    const server = await serve(hold);
    const platform = createPlatform({ ...KEY_AND_SECRET, url: server.url });
    let settled = false;
    const call = platform.media.listRooms().then(
      () => (settled = true),
      () => (settled = true),
    );
    await server.received(1);
    const closed = platform.close().then(() => settled);
    setTimeout(hold.releaseAll, 50);
    expect(await closed).toBe(true);
    await call;
  });

  test('returns a platform with Symbol.asyncDispose', async () => {
    const result = await resultOf(
      `const platform = require(entry).createPlatform(${JSON.stringify(WHOLE)});
      platform[Symbol.asyncDispose]().then((value) => console.log(JSON.stringify({ value: value ?? null, type: typeof Symbol.asyncDispose })));`,
    );
    expect(result).toEqual({ value: null, type: 'symbol' });
  });
});

describe('key and secret', () => {
  test('are not shown by a platform, its media, or the state of the process', () => {
    setEnv({ ...WHOLE, roomPrefix: 'app:' });
    const kept = Symbol.for('@maravilla-labs/platform');
    const shared = getPlatform();
    const own = createPlatform(WHOLE);
    expect(globalThis[kept]).toBeDefined();
    for (const value of [shared, shared.media, own, own.media, globalThis[kept], Object.values(shared.media), Object.getOwnPropertyDescriptors(own)]) {
      const shown = inspect(value, { depth: Infinity, showHidden: true, getters: true }) + JSON.stringify(value) + String(value);
      expect(shown).not.toContain(WHOLE.apiSecret);
      expect(shown).not.toContain(WHOLE.apiKey);
    }
  });
});
