'use strict';

require('./support/environment.js');
const { inspect } = require('node:util');
const { clearPlatformCache, createPlatform, getPlatform, isMediaError } = require('../index.js');
const { resultOf, runNode } = require('./support/child.js');
const { VARIABLES: { livekit: VARIABLES }, setEnv, variables, warnings } = require('./support/configuration.js');
const { failureIn, failureOf } = require('./support/failure.js');
const { held, silence } = require('./support/fault-server.js');
const { roomCalls } = require('./support/media.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');
const { serve } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

const KEY_AND_SECRET = { apiKey: 'APIkey', apiSecret: 'secret-nine-lives' };
const WHOLE = { ...KEY_AND_SECRET, url: 'wss://rooms.example' };
const ann = { identity: 'ann', name: 'Ann' };

async function claimsOf(media) {
  const { token, url } = await media.generateToken('room', ann);
  return { token, url, ...readToken(token).claims };
}

/** A field whose effect can be seen in a token. */
const VISIBLE = {
  url: { values: ['wss://a.example', 'wss://b.example'], see: async (media) => media.mediaUrl() },
  apiKey: { values: ['key-a', 'key-b'], see: async (media) => (await claimsOf(media)).iss },
  apiSecret: {
    values: ['secret-a', 'secret-b'],
    see: async (media) => {
      const { token } = await claimsOf(media);
      return ['secret-a', 'secret-b'].find((secret) => {
        try {
          return readToken(token, secret);
        } catch {
          return false;
        }
      });
    },
  },
  roomPrefix: { values: ['a:', 'b:'], see: async (media) => (await claimsOf(media)).video.room.slice(0, -'room'.length), standard: '' },
  tokenTtlSecs: {
    values: [100, 200],
    see: async (media) => {
      const { nbf, exp } = await claimsOf(media);
      return exp - nbf;
    },
    standard: 21_600,
  },
};

describe.each(Object.entries(VISIBLE))('%s', (field, { values: [first, second], see, standard }) => {
  const others = { ...WHOLE };
  delete others[field];

  test('is read from its variable', async () => {
    setEnv({ ...others, [field]: first });
    expect(await see(getPlatform().media)).toBe(first);
  });

  test('is read from the option', async () => {
    expect(await see(createPlatform({ ...others, [field]: second }).media)).toBe(second);
  });

  test('is read from the option where both are given, and nothing else changes', async () => {
    setEnv({ ...WHOLE, roomPrefix: 'env:', tokenTtlSecs: 77, [field]: first });
    const { media } = getPlatform({ [field]: second });
    expect(await see(media)).toBe(second);
    for (const [other, { see: seeOther }] of Object.entries(VISIBLE)) {
      if (other === field || other === 'apiSecret') continue;
      expect(await seeOther(media)).toBe({ ...WHOLE, roomPrefix: 'env:', tokenTtlSecs: 77 }[other]);
    }
  });

  test.each([undefined, ''])('is read from its variable where the option is %j', async (absent) => {
    setEnv({ ...others, [field]: first });
    expect(await see(getPlatform({ [field]: absent }).media)).toBe(first);
  });

  if (standard !== undefined) {
    test.each([undefined, ''])(`is ${JSON.stringify(standard)} where it is %j everywhere`, async (absent) => {
      if (absent !== undefined) setEnv({ [field]: absent });
      expect(await see(getPlatform({ ...others, [field]: absent }).media)).toBe(standard);
    });
  }
});

describe('provider', () => {
  test('is livekit by default, where key and secret are set', () => {
    setEnv(KEY_AND_SECRET);
    expect(getPlatform().media).toBeDefined();
    expect(createPlatform(KEY_AND_SECRET).media).toBeDefined();
  });

  test('is livekit where nothing says otherwise, whatever the embedded engine is told', async () => {
    setEnv(WHOLE);
    setEnv({ host: 'not an address', port: 'x', publicUrl: 'not a url', rtcPort: 'x', rtcAddress: 'x', apiKey: 'half' }, 'embedded');
    expect(await claimsOf(getPlatform().media)).toMatchObject({ url: WHOLE.url, iss: WHOLE.apiKey });
    expect(warnings()).toEqual([]);
  });

  test('is none by default, where nothing is set', () => {
    expect(getPlatform().media).toBeUndefined();
    expect(createPlatform().media).toBeUndefined();
    expect(createPlatform({}).media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is none where the variable says so, whatever else is set', () => {
    setEnv({ ...WHOLE, provider: 'none' });
    expect(getPlatform().media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is none where the option says so, whatever else is set or wrong', () => {
    setEnv({ ...WHOLE, provider: 'livekit', url: 'not a url' });
    expect(getPlatform({ provider: 'none' }).media).toBeUndefined();
    expect(createPlatform({ ...WHOLE, provider: 'none' }).media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is livekit where the option says so, whatever the variable says', () => {
    setEnv({ ...WHOLE, provider: 'none' });
    expect(getPlatform({ provider: 'livekit' }).media).toBeDefined();
  });

  test.each([undefined, ''])('%j is absent', (provider) => {
    setEnv({ ...WHOLE, provider: '' });
    expect(getPlatform({ provider }).media).toBeDefined();
  });
});

describe('apiUrl', () => {
  test('is where calls go, while clients get url', async () => {
    const [api, other] = [await serve(), await serve()];
    setEnv({ ...KEY_AND_SECRET, url: other.url, apiUrl: api.url });
    const { media } = getPlatform();
    await media.listRooms();
    expect([api.requests.length, other.connections]).toEqual([1, 0]);
    expect(await media.mediaUrl()).toBe(other.url.replace('http', 'ws'));
  });

  test('as option beats the variable', async () => {
    const [api, other] = [await serve(), await serve()];
    setEnv({ ...WHOLE, apiUrl: other.url });
    await getPlatform({ apiUrl: api.url }).media.listRooms();
    expect([api.requests.length, other.connections]).toEqual([1, 0]);
  });

  test.each([undefined, ''])('is url where it is %j', async (absent) => {
    const server = await serve();
    await createPlatform({ ...KEY_AND_SECRET, url: server.url, apiUrl: absent }).media.listRooms();
    expect(server.requests).toHaveLength(1);
  });

  test('alone lets room calls work and tokens not', async () => {
    const server = await serve();
    setEnv({ ...KEY_AND_SECRET, apiUrl: server.url });
    const { media } = getPlatform();
    for (const call of Object.values(roomCalls)) await call(media);
    expect(await failureOf(media.generateToken('room', ann))).toMatchObject({ code: 'URL_NOT_CONFIGURED', operation: 'generateToken', retryable: false });
    expect(await media.mediaUrl()).toBeNull();
    expect(warnings()).toEqual([]);
  });

  test('may be ws or wss too', async () => {
    const server = await serve();
    await createPlatform({ ...KEY_AND_SECRET, apiUrl: server.url.replace('http', 'WS') }).media.listRooms();
    expect(server.requests).toHaveLength(1);
  });
});

describe('timeoutMs', () => {
  const budgetOf = async (options, fields = {}) => {
    const server = await serve(silence);
    setEnv({ ...KEY_AND_SECRET, url: server.url, ...fields });
    const started = performance.now();
    expect((await failureOf(getPlatform(options).media.listRooms())).code).toBe('TIMEOUT');
    return performance.now() - started;
  };

  test('is read from its variable', async () => {
    expect(await budgetOf({}, { timeoutMs: 80 })).toBeLessThan(1000);
  });

  test('is read from the option where both are given', async () => {
    expect(await budgetOf({ timeoutMs: 80 }, { timeoutMs: 600_000 })).toBeLessThan(1000);
  });

  // That it is 10 seconds by default stands in faults.test.js, which takes as long anyway.
});

describe('env', () => {
  test('is read in place of process.env', async () => {
    setEnv(WHOLE);
    expect(getPlatform({ env: {} }).media).toBeUndefined();
    clearPlatformCache();
    const env = variables({ ...KEY_AND_SECRET, url: 'wss://other.example' });
    expect(await getPlatform({ env }).media.mediaUrl()).toBe('wss://other.example');
    clearPlatformCache();
    expect(await createPlatform({ env }).media.mediaUrl()).toBe('wss://other.example');
  });

  test('loses to an option, field by field', async () => {
    const { media } = createPlatform({ env: variables({ ...WHOLE, roomPrefix: 'env:' }), url: 'wss://option.example' });
    expect(await claimsOf(media)).toMatchObject({ url: 'wss://option.example', iss: WHOLE.apiKey, video: { room: 'env:room' } });
  });

  test('undefined is process.env for getPlatform, and nothing for createPlatform', () => {
    setEnv(WHOLE);
    expect(getPlatform({ env: undefined }).media).toBeDefined();
    expect(createPlatform({ env: undefined }).media).toBeUndefined();
  });

  test('may be frozen, without a prototype, or hold undefined', () => {
    const env = Object.freeze(Object.assign(Object.create(null), variables(WHOLE), { LIVEKIT_API_URL: undefined, OTHER: undefined }));
    expect(createPlatform({ env }).media).toBeDefined();
  });
});

test('createPlatform reads no environment', async () => {
  setEnv({ ...WHOLE, roomPrefix: 'env:', tokenTtlSecs: 77, apiUrl: 'not a url', provider: 'wrong' });
  expect(createPlatform().media).toBeUndefined();
  expect(createPlatform({}).media).toBeUndefined();
  const { media } = createPlatform({ ...KEY_AND_SECRET, url: 'wss://option.example' });
  const { url, video, nbf, exp } = await claimsOf(media);
  expect({ url, room: video.room, ttl: exp - nbf }).toEqual({ url: 'wss://option.example', room: 'room', ttl: 21_600 });
  expect(warnings()).toEqual([]);
});

test.each(['devServerUrl', 'tenant'])('%s has no effect', async (option) => {
  expect(getPlatform({ [option]: 'http://x.example' }).media).toBeUndefined();
  expect(getPlatform({ [option]: 'another' })).toBe(getPlatform());
  const { media } = createPlatform({ ...WHOLE, [option]: 'http://x.example' });
  expect(await claimsOf(media)).toMatchObject({ url: WHOLE.url, video: { room: 'room' } });
  expect(warnings()).toEqual([]);
});

describe('url', () => {
  test.each([
    ['ws://rooms.example', 'ws://rooms.example'],
    ['wss://rooms.example', 'wss://rooms.example'],
    ['http://rooms.example', 'ws://rooms.example'],
    ['https://rooms.example', 'wss://rooms.example'],
    ['WS://rooms.example', 'ws://rooms.example'],
    ['WSS://Rooms.Example', 'wss://rooms.example'],
    ['HTTPS://rooms.example/', 'wss://rooms.example'],
    ['wss://rooms.example/', 'wss://rooms.example'],
    ['wss://rooms.example//', 'wss://rooms.example'],
    ['wss://rooms.example:8443', 'wss://rooms.example:8443'],
    ['wss://rooms.example/livekit', 'wss://rooms.example/livekit'],
    ['https://rooms.example/a/livekit/', 'wss://rooms.example/a/livekit'],
    ['ws://127.0.0.1:7880', 'ws://127.0.0.1:7880'],
    ['ws://[::1]:7880', 'ws://[::1]:7880'],
  ])('%s is handed out as %s', async (url, handedOut) => {
    const { media } = createPlatform({ ...KEY_AND_SECRET, url });
    expect(await media.mediaUrl()).toBe(handedOut);
    expect((await media.generateToken('room', ann)).url).toBe(handedOut);
  });

  test('missing beside key and secret leaves media without a place to go', async () => {
    setEnv(KEY_AND_SECRET);
    for (const { media } of [getPlatform(), createPlatform(KEY_AND_SECRET), createPlatform({ ...KEY_AND_SECRET, url: '' })]) {
      expect(await media.mediaUrl()).toBeNull();
      const calls = { ...roomCalls, generateToken: () => media.generateToken('room', ann) };
      for (const [operation, call] of Object.entries(calls)) {
        expect(await failureOf(call(media))).toMatchObject({ code: 'URL_NOT_CONFIGURED', operation, retryable: false });
      }
    }
    expect(warnings()).toEqual([]);
  });
});

/** Configurations that are wrong: the fields, and those that the message must name. */
const WRONG = {
  'a key without a secret': [{ apiKey: 'k', url: WHOLE.url }, ['apiSecret']],
  'a secret without a key': [{ apiSecret: 'the-secret-itself', url: WHOLE.url }, ['apiKey']],
  'a key alone': [{ apiKey: 'k' }, ['apiSecret']],
  'a secret alone': [{ apiSecret: 'the-secret-itself' }, ['apiKey']],
  'url alone': [{ url: WHOLE.url }, ['apiKey', 'apiSecret']],
  'apiUrl alone': [{ apiUrl: WHOLE.url }, ['apiKey', 'apiSecret']],
  'a provider without its key and secret': [{ provider: 'livekit' }, ['apiKey', 'apiSecret']],
  'a provider that is not known': [{ ...WHOLE, provider: 'zoom' }, ['provider']],
  'a provider in capitals': [{ ...WHOLE, provider: 'LiveKit' }, ['provider']],
  ...Object.fromEntries(
    ['not a url', 'rooms.example', 'rooms.example:7880', '//rooms.example', 'ftp://rooms.example', 'wss://', 'wss://user:pass@rooms.example', 'wss://rooms.example?x=1', 'wss://rooms.example#x', 'ws://rooms.example:99999', 'file:///etc', 'javascript:alert(1)'].flatMap((url) => [
      [`url ${url}`, [{ ...KEY_AND_SECRET, url }, ['url']]],
      [`apiUrl ${url}`, [{ ...WHOLE, apiUrl: url }, ['apiUrl']]],
    ]),
  ),
  ...Object.fromEntries(['app', 'app1', 'a:b', '1', 'é', 'app:\n', 'app\0:', `${'x'.repeat(255)}:`].map((roomPrefix) => [`prefix ${JSON.stringify(roomPrefix).slice(0, 12)}`, [{ ...WHOLE, roomPrefix }, ['roomPrefix']]])),
  ...Object.fromEntries(
    ['0', '-1', '1.5', 'x', '1e3', ' 5', '0x10', 'NaN', '99999999999', '2592001'].map((value) => [`ttl ${value}`, [{ ...WHOLE, tokenTtlSecs: value }, ['tokenTtlSecs']]]),
  ),
  ...Object.fromEntries(['0', '-1', '1.5', 'x', '10s', '99999999999'].map((value) => [`timeout ${value}`, [{ ...WHOLE, timeoutMs: value }, ['timeoutMs']]])),
  'a key with a line break': [{ ...WHOLE, apiKey: 'key\n' }, ['apiKey']],
  'a secret with a line break': [{ ...WHOLE, apiSecret: 'the-secret-itself\n' }, ['apiSecret']],
  'a secret with a space': [{ ...WHOLE, apiSecret: ' the-secret-itself' }, ['apiSecret']],
};

describe.each(Object.entries(WRONG))('%s', (_, [fields, named]) => {
  test('in the environment leaves media undefined, with one warning that names the variable', () => {
    setEnv(fields);
    const platform = getPlatform();
    expect(platform.media).toBeUndefined();
    expect(getPlatform()).toBe(platform);
    expect(warnings()).toHaveLength(1);
    for (const field of named) expect(warnings()[0]).toContain(VARIABLES[field]);
    expect(warnings()[0]).not.toContain('the-secret-itself');
    expect(warnings()[0]).not.toContain(WHOLE.apiSecret);
  });

  test('in env does the same', () => {
    expect(createPlatform({ env: variables(fields) }).media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
  });

  // Numbers are numbers in code; those that are wrong stand in a table of their own.
  if ('tokenTtlSecs' in fields || 'timeoutMs' in fields) return;
  test('in code is thrown as INVALID_CONFIG', () => {
    for (const make of [getPlatform, createPlatform]) {
      const error = failureIn(() => make(fields));
      expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: make.name, retryable: false });
      expect(named.some((field) => error.message.includes(field) || error.message.includes(VARIABLES[field]))).toBe(true);
      expect(inspect(error, { showHidden: true, depth: Infinity })).not.toContain('the-secret-itself');
      expect(inspect(error, { showHidden: true, depth: Infinity })).not.toContain(WHOLE.apiSecret);
    }
    expect(warnings()).toEqual([]);
  });
});

describe('options', () => {
  const wrongTypes = [null, true, 0, 1n, Symbol('s'), {}, [], () => 'x'];

  test.each(['provider', 'url', 'apiUrl', 'apiKey', 'apiSecret', 'roomPrefix', 'host', 'publicUrl', 'rtcAddress'])('%s must be a string', (field) => {
    for (const value of wrongTypes) {
      expect(failureIn(() => createPlatform({ ...WHOLE, [field]: value })).code).toBe('INVALID_CONFIG');
    }
  });

  test.each(['tokenTtlSecs', 'timeoutMs'])('%s must be a whole number from 1', (field) => {
    for (const value of [null, true, '5', 1n, Symbol('s'), {}, [], [5], () => 5, NaN, Infinity, -Infinity, 0, -1, 0.5, 1.5, 2 ** 31, 2 ** 32, 2 ** 53]) {
      expect(failureIn(() => createPlatform({ ...WHOLE, [field]: value })).code).toBe('INVALID_CONFIG');
    }
  });

  test.each([['tokenTtlSecs', 2_592_000], ['timeoutMs', 2 ** 31 - 1]])('%s may be 1 or %i', (field, most) => {
    for (const value of [1, most]) expect(createPlatform({ ...WHOLE, [field]: value }).media).toBeDefined();
    setEnv({ ...WHOLE, [field]: most });
    expect(getPlatform().media).toBeDefined();
  });

  test.each(['app:', 'app-', 'app_', '🙂', '/', ' '])('roomPrefix may be %j', async (roomPrefix) => {
    const { media } = createPlatform({ ...WHOLE, roomPrefix });
    expect((await claimsOf(media)).video.room).toBe(`${roomPrefix}room`);
  });

  test('must be an object, and env too', () => {
    for (const value of [null, true, 0, 'x', 1n, Symbol('s'), [], () => ({})]) {
      for (const make of [getPlatform, createPlatform]) {
        expect(failureIn(() => make(value)).code).toBe('INVALID_CONFIG');
        expect(failureIn(() => make({ env: value })).code).toBe('INVALID_CONFIG');
      }
    }
  });

  test.each([['apikey', 'apiKey'], ['apiSecert', 'apiSecret'], ['apiURL', 'apiUrl'], ['tokenTtlSec', 'tokenTtlSecs'], ['timeoutMS', 'timeoutMs'], ['roomPrefx', 'roomPrefix'], ['providers', 'provider'], ['uri', 'url'], ['publicURL', 'publicUrl'], ['hosts', 'host'], ['ports', 'port'], ['rtcport', 'rtcPort'], ['rtcAdress', 'rtcAddress'], ['rtcAddresses', 'rtcAddress']])(
    'with a typo are refused: %s',
    (typo, near) => {
      const error = failureIn(() => createPlatform({ ...WHOLE, [typo]: 'x' }));
      expect(error.code).toBe('INVALID_CONFIG');
      expect(error.message).toContain(near);
    },
  );

  test('that are near to short names only are left alone', () => {
    for (const other of ['ttl', 'dev', 'name', 'use']) expect(createPlatform({ ...WHOLE, [other]: 'x' }).media).toBeDefined();
  });

  test('that are undefined are absent', () => {
    const all = Object.fromEntries([...Object.keys(VARIABLES), 'host', 'port', 'publicUrl', 'rtcPort', 'rtcAddress', 'env', 'devServerUrl', 'tenant'].map((name) => [name, undefined]));
    expect(createPlatform(all).media).toBeUndefined();
    expect(getPlatform(all).media).toBeUndefined();
  });
});

describe('getPlatform', () => {
  test('gives the same object and the same media each time', () => {
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
  test.each(Object.entries(changed))('with another %s throws INVALID_CONFIG and names it', (field, value) => {
    const platform = getPlatform(WHOLE);
    const error = failureIn(() => getPlatform({ ...WHOLE, [field]: value }));
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: 'getPlatform', retryable: false });
    expect(error.message).toContain(field);
    const shown = inspect(error, { showHidden: true, depth: Infinity });
    for (const secret of [WHOLE.apiSecret, changed.apiSecret]) expect(shown).not.toContain(secret);
    expect(getPlatform()).toBe(platform);
  });

  test('names the first of several differences', () => {
    getPlatform(WHOLE);
    const { message } = failureIn(() => getPlatform({ ...WHOLE, tokenTtlSecs: 5, url: 'wss://other.example' }));
    expect(message).toContain('url');
    expect(message).not.toContain('tokenTtlSecs');
  });

  test('can try again after it threw', async () => {
    failureIn(() => getPlatform({ ...WHOLE, url: 'not a url' }));
    expect(await getPlatform(WHOLE).media.mediaUrl()).toBe(WHOLE.url);
  });

  test('survives hot reload, where the package is loaded anew in the same realm', () => {
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

  test.each(['copied', 'linked'])('is shared by duplicate copies of the package in one realm (addon %s)', async (addon) => {
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

  test('makes a new platform, and leaves the old one as it was', async () => {
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

  test('in env does so too, and getPlatform() without env reads the same env from then on', async () => {
    getPlatform({ env: variables(WHOLE) });
    const platform = getPlatform({ env: variables(OTHER) });
    expect(await platform.media.mediaUrl()).toBe(OTHER.url);
    setEnv({ ...WHOLE, url: 'wss://third.example' });
    expect(getPlatform()).toBe(platform);
    expect(getPlatform({})).toBe(platform);
  });

  test.each(Object.keys({ ...WHOLE, provider: 0, roomPrefix: 0, tokenTtlSecs: 0 }))('makes a new platform where %s is no longer in it', (field) => {
    const env = variables({ ...WHOLE, provider: 'livekit', roomPrefix: 'a:', tokenTtlSecs: 5 });
    const platform = getPlatform({ env });
    const { [VARIABLES[field]]: _, ...rest } = env;
    expect(getPlatform({ env: rest })).not.toBe(platform);
    expect(getPlatform()).not.toBe(platform);
  });

  test('is looked at once in production, unless env is passed', () => {
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

  test('that concerns none of the variables read is no change', () => {
    setEnv(WHOLE);
    const platform = getPlatform();
    setEnv({ host: '127.0.0.1', port: 1, apiKey: 'other' }, 'embedded');
    process.env.SOMETHING_ELSE = 'changed';
    expect(getPlatform()).toBe(platform);
    delete process.env.SOMETHING_ELSE;
  });

  test('changes nothing that code has set, at whichever call', async () => {
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

  test('excuses no option in code that differs', () => {
    setEnv(WHOLE);
    getPlatform({ roomPrefix: 'a:' });
    setEnv(OTHER);
    const error = failureIn(() => getPlatform({ roomPrefix: 'b:' }));
    expect(error.code).toBe('INVALID_CONFIG');
    expect(error.message).toContain('roomPrefix');
  });

  test('shows no secret', () => {
    getPlatform({ env: variables(WHOLE) });
    const platform = getPlatform({ env: variables({ ...WHOLE, apiSecret: 'another-secret-than-that' }) });
    const kept = globalThis[Symbol.for('@maravilla-labs/platform')];
    expect(inspect([platform, kept], { depth: Infinity, showHidden: true, getters: true })).not.toContain('another-secret-than-that');
  });

  test('that is wrong switches media off with a warning, and once it is right again media is there', async () => {
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
  test('makes the next call read options and environment anew', async () => {
    const first = getPlatform(WHOLE);
    clearPlatformCache();
    const second = getPlatform({ ...WHOLE, url: 'wss://other.example' });
    expect(second).not.toBe(first);
    expect(await second.media.mediaUrl()).toBe('wss://other.example');
    // What was given before still works.
    expect(await first.media.mediaUrl()).toBe(WHOLE.url);
    expect((await first.media.generateToken('room', ann)).url).toBe(WHOLE.url);
  });

  test('may be called when there is nothing to forget, and twice', () => {
    clearPlatformCache();
    clearPlatformCache();
    expect(getPlatform().media).toBeUndefined();
  });

  test('lets a call under way finish', async () => {
    const hold = held();
    const server = await serve(hold);
    const creation = getPlatform({ ...KEY_AND_SECRET, url: server.url }).media.createRoom('room');
    await server.received(1);
    clearPlatformCache();
    hold.releaseAll();
    expect((await creation).name).toBe('room');
  });
});

test('methods work when taken off the object', async () => {
  const server = await serve();
  const { createRoom, deleteRoom, generateToken, listParticipants, listRooms, mediaUrl, removeParticipant } = createPlatform({ ...KEY_AND_SECRET, url: server.url }).media;
  expect((await createRoom('room')).name).toBe('room');
  expect(await listRooms()).toEqual([]);
  expect(await listParticipants('room')).toEqual([]);
  expect((await generateToken('room', ann)).token).toMatch(/^eyJ/);
  expect(await mediaUrl()).toBe(server.url.replace('http', 'ws'));
  await removeParticipant('room', 'ann');
  await deleteRoom('room');
  expect(await mediaUrl.call({ unrelated: true })).toBe(server.url.replace('http', 'ws'));
});

describe.each(['platform', '__maravilla_platform'])('a platform injected as globalThis.%s', (name) => {
  const inject = (platform) => {
    globalThis[name] = platform;
    return platform;
  };

  test('is returned with everything it has', () => {
    const injected = inject({ kv: { get: () => 'value' }, auth: {} });
    expect(getPlatform()).toBe(injected);
    expect(getPlatform().kv.get()).toBe('value');
    expect(getPlatform()).not.toHaveProperty('media');
  });

  test('keeps its own media, whatever is configured', () => {
    const media = { own: true };
    const injected = inject({ media });
    setEnv(WHOLE);
    expect(getPlatform()).toBe(injected);
    expect(getPlatform().media).toBe(media);
    clearPlatformCache();
    expect(injected.media).toBe(media);
  });

  test('keeps its own media that a getter gives', () => {
    const media = { own: true };
    class Injected {
      get media() {
        return media;
      }
    }
    inject(new Injected());
    expect(getPlatform(WHOLE).media).toBe(media);
  });

  test.each([
    ['none', () => ({ kv: 1 })],
    ['undefined', () => ({ kv: 1, media: undefined })],
    ['null', () => ({ kv: 1, media: null })],
    ['undefined from a getter of its class', () => new (class { kv = 1; get media() { return undefined; } })()],
    ['none, and is a function', () => Object.assign(() => {}, { kv: 1 })],
  ])('gets ours where its media is %s', async (_, make) => {
    const injected = inject(make());
    const platform = getPlatform(WHOLE);
    expect(platform).toBe(injected);
    expect(platform.kv).toBe(1);
    expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(platform.media);
  });

  test.each([
    ['frozen', () => Object.freeze({ kv: { get: () => 'value' } })],
    ['sealed', () => Object.seal({ kv: { get: () => 'value' }, media: undefined })],
    ['closed to new keys', () => Object.preventExtensions({ kv: { get: () => 'value' } })],
    ['fixed to have none', () => Object.defineProperty({ kv: { get: () => 'value' } }, 'media', { value: undefined })],
  ])('that is %s gets ours too, and is left as it is', async (_, make) => {
    const injected = inject(make());
    const platform = getPlatform(WHOLE);
    expect(platform.kv.get()).toBe('value');
    expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(platform.media);
    expect(injected.media).toBeUndefined();
    clearPlatformCache();
    expect(getPlatform({ provider: 'none' }).media).toBeUndefined();
  });

  test('that is frozen keeps what only the object itself can do', () => {
    class Injected {
      #secret = 'value';
      constructor() {
        Object.freeze(this);
      }
      get() {
        return this.#secret;
      }
    }
    inject(new Injected());
    expect(getPlatform(WHOLE).get()).toBe('value');
  });

  describe.each([
    ['in code', (provider) => getPlatform({ provider, env: variables(WHOLE) })],
    ['by MARAVILLA_MEDIA_PROVIDER', (provider) => getPlatform({ env: variables({ ...WHOLE, provider }) })],
  ])('that has media, where a provider is named %s', (_, open) => {
    const own = { own: true };
    class Injected {
      kv = 1;
      get media() {
        return own;
      }
    }

    test.each([
      ['a field', () => ({ kv: 1, media: own })],
      ["its class's getter", () => new Injected()],
      ['a getter of its own', () => ({ kv: 1, get media() { return own; } })],
      ['fixed', () => Object.defineProperty({ kv: 1 }, 'media', { value: own })],
      ['frozen', () => Object.freeze({ kv: 1, media: own })],
    ])('has the media of that provider, and its own again once the cache is cleared: %s', async (__, make) => {
      const injected = inject(make());
      const platform = open('livekit');
      expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
      expect(platform.kv).toBe(1);
      expect(open('livekit')).toBe(platform);
      expect(getPlatform().media).toBe(platform.media);
      clearPlatformCache();
      expect(injected.media).toBe(own);
      expect(getPlatform()).toBe(injected);
      expect(getPlatform().media).toBe(own);
    });

    test('has none where the provider is none', () => {
      const injected = inject({ kv: 1, media: own });
      expect(open('none').media).toBeUndefined();
      expect(getPlatform().kv).toBe(1);
      clearPlatformCache();
      expect(injected).toEqual({ kv: 1, media: own });
    });
  });

  test('that has media has none where the provider that is named is misspelt, and a warning says so', () => {
    inject({ media: { own: true } });
    setEnv({ ...WHOLE, provider: 'livekitt' });
    expect(getPlatform().media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
  });

  test('that is replaced by the host is replaced here, too, with the options given before', async () => {
    inject({ name: 'first' });
    const first = getPlatform(WHOLE);
    inject({ name: 'second' });
    const second = getPlatform();
    expect([first.name, second.name]).toEqual(['first', 'second']);
    expect(await second.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(second);
    expect(first).toEqual({ name: 'first' });
  });

  test('that is injected after the first call is returned from then on', () => {
    expect(getPlatform()).toEqual({});
    const injected = inject({ kv: 1 });
    expect(getPlatform()).toBe(injected);
    delete globalThis[name];
    expect(getPlatform()).toEqual({});
  });

  test('that is the very one given here changes nothing', () => {
    setEnv(WHOLE);
    const platform = inject(getPlatform());
    const { media } = platform;
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(media);
    setEnv({ ...WHOLE, url: 'wss://other.example' });
    expect(getPlatform().media).not.toBe(media);
  });

  test('has no media of ours once the cache is cleared', () => {
    const injected = inject({ kv: 1 });
    getPlatform(WHOLE);
    clearPlatformCache();
    expect(injected).toEqual({ kv: 1 });
    expect(getPlatform({ provider: 'none' })).toBe(injected);
    expect(injected.media).toBeUndefined();
  });

  test('does not excuse options that are wrong', () => {
    inject({ kv: 1 });
    expect(failureIn(() => getPlatform({ ...WHOLE, url: 'not a url' })).code).toBe('INVALID_CONFIG');
    expect(failureIn(() => getPlatform({ apiKye: 'x' })).code).toBe('INVALID_CONFIG');
  });

  test('is nothing to createPlatform', () => {
    inject({ kv: 1 });
    expect(createPlatform(WHOLE)).not.toHaveProperty('kv');
  });

  test.each([0, 1, '', 'text', true, null, undefined])('is none where it is %j', (value) => {
    inject(value);
    expect(getPlatform()).toEqual({});
  });
});

test('of two injected platforms the documented one wins', () => {
  globalThis.platform = { name: 'platform' };
  globalThis.__maravilla_platform = { name: '__maravilla_platform' };
  expect(getPlatform().name).toBe('platform');
});

describe('createPlatform', () => {
  test('gives a new platform each time, and leaves the shared one alone', () => {
    const [first, second] = [createPlatform(WHOLE), createPlatform(WHOLE)];
    expect(first).not.toBe(second);
    expect(first.media).not.toBe(second.media);
    expect(getPlatform()).not.toBe(first);
    expect(getPlatform().media).toBeUndefined();
  });

  test.each([
    ['livekit', WHOLE],
    ['none', {}],
  ])('gives a platform that can be closed, more than once: %s', async (_, options) => {
    const platform = createPlatform(options);
    expect(await platform.close()).toBeUndefined();
    expect(await platform.close()).toBeUndefined();
    expect(await platform[Symbol.asyncDispose]()).toBeUndefined();
    const { close } = createPlatform(options);
    expect(await close()).toBeUndefined();
    expect(Object.keys(platform)).toEqual(options === WHOLE ? ['media'] : []);
  });

  test('closes only when none of its calls is pending', async () => {
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

  test('can be used with Symbol.asyncDispose as Node has it', async () => {
    const result = await resultOf(
      `const platform = require(entry).createPlatform(${JSON.stringify(WHOLE)});
      platform[Symbol.asyncDispose]().then((value) => console.log(JSON.stringify({ value: value ?? null, type: typeof Symbol.asyncDispose })));`,
    );
    expect(result).toEqual({ value: null, type: 'symbol' });
  });
});

describe('nothing secret', () => {
  test('is shown of a platform, its media, or what is kept for the process', () => {
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

describe('in a process of its own', () => {
  const report = `
    const loaded = () => {
      process.report.excludeNetwork = true;
      return process.report.getReport().sharedObjects.some((file) => file.endsWith('.node')) || Object.keys(require.cache).some((file) => /binding\\.js$|\\.node$/.test(file));
    };`;

  test.each([
    ['nothing is configured', {}, '{}'],
    ['the provider is none', { ...WHOLE, provider: 'none' }, '{}'],
    ['half is configured', { apiKey: 'k' }, '{}'],
    ['a platform with media is injected', WHOLE, '{ injected: true }'],
  ])('the addon is never loaded where %s', async (_, fields, flags) => {
    const result = await resultOf(
      `${report}
      process.on('warning', () => {});
      if (${flags}.injected) globalThis.platform = { media: {} };
      const { getPlatform, createPlatform } = require(entry);
      const { media } = getPlatform();
      createPlatform();
      console.log(JSON.stringify({ loaded: loaded(), media: media !== undefined }));`,
      { env: variables(fields) },
    );
    expect(result).toEqual({ loaded: false, media: flags !== '{}' });
  });

  test('the addon is loaded where a provider is configured, so that the check above can fail', async () => {
    const result = await resultOf(
      `${report}
      const before = (require(entry), loaded());
      require(entry).getPlatform();
      console.log(JSON.stringify({ before, after: loaded() }));`,
      { env: variables(WHOLE) },
    );
    expect(result).toEqual({ before: false, after: true });
  });

  test('half a configuration is one warning of the process, with a name and a code to tell it by', async () => {
    const warned = await resultOf(
      `const warnings = [];
      process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }));
      const { getPlatform } = require(entry);
      for (let call = 0; call < 5; call += 1) getPlatform();
      setImmediate(() => console.log(JSON.stringify(warnings)));`,
      { env: variables({ apiKey: 'k', url: 'not a url', tokenTtlSecs: 'x' }) },
    );
    expect(warned).toHaveLength(1);
    expect(warned[0].name).toMatch(/./);
    expect(warned[0].code).toMatch(/./);
    for (const variable of ['LIVEKIT_API_SECRET', 'LIVEKIT_URL', 'MARAVILLA_MEDIA_TOKEN_TTL_SECS']) expect(warned[0].message).toContain(variable);
  });

  test('a warning does not end the process, and can be silenced as any other', async () => {
    const env = variables({ apiKey: 'k' });
    const script = 'require(entry).getPlatform();';
    const loud = await runNode(script, { env });
    expect(loud.code).toBe(0);
    expect(loud.stderr).toContain('LIVEKIT_API_SECRET');
    const silent = await runNode(script, { env, flags: ['--no-warnings'] });
    expect([silent.code, silent.stderr]).toEqual([0, '']);
  });

  describe('where no provider is set', () => {
    const told = (body, env = {}) =>
      resultOf(
        `const told = [];
        process.on('warning', ({ name, code, message }) => told.push({ name, code, message }));
        const { clearPlatformCache, createPlatform, getPlatform } = require(entry);
        ${body}
        setImmediate(() => console.log(JSON.stringify(told)));`,
        { env },
      );

    test.each([{}, { NODE_ENV: 'development' }, { NODE_ENV: 'test' }])('one warning says which variable selects one: %j', async (env) => {
      const [warned, ...more] = await told('for (let i = 0; i < 3; i += 1) { getPlatform(); getPlatform({ env: { A: String(i) } }); clearPlatformCache(); }', env);
      expect(more).toEqual([]);
      expect(warned).toMatchObject({ name: 'MaravillaWarning', code: 'MARAVILLA_NO_PROVIDER' });
      for (const part of ['MARAVILLA_MEDIA_PROVIDER=embedded', 'LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'MARAVILLA_MEDIA_PROVIDER=none', '.env']) expect(warned.message).toContain(part);
    });

    test.each([
      ['in production', 'getPlatform();', { NODE_ENV: 'production' }],
      ['where env says that this is production', `getPlatform({ env: { NODE_ENV: 'production' } });`, {}],
      ['where the provider is none', 'getPlatform();', { MARAVILLA_MEDIA_PROVIDER: 'none' }],
      ['where code says none', `getPlatform({ provider: 'none' });`, {}],
      ['where one is configured', 'getPlatform();', variables(WHOLE)],
      ['where a platform is injected', 'globalThis.platform = { kv: 1 }; getPlatform();', {}],
      ['for a platform of its own', 'createPlatform(); createPlatform({ env: {} });', {}],
    ])('nothing is said %s', async (_, body, env) => {
      expect(await told(body, env)).toEqual([]);
    });

    test('half a configuration is one warning, not two', async () => {
      expect((await told('getPlatform();', { LIVEKIT_URL: WHOLE.url })).map(({ code }) => code)).toEqual(['MARAVILLA_INVALID_CONFIG']);
    });
  });

  test.each([
    ['embeded', 'embedded'],
    ['LiveKit', 'livekit'],
    ['Embedded', 'embedded'],
    ['zoom', undefined],
  ])('a provider that is misspelt is shown, with the one that is meant: %s', async (provider, near) => {
    const warned = await resultOf(
      `process.on('warning', ({ message }) => console.log(JSON.stringify(message)));
      require(entry).getPlatform();`,
      { env: variables({ provider }) },
    );
    expect(warned).toContain(`"${provider}"`);
    if (near) expect(warned).toContain(`did you mean ${near}?`);
    else expect(warned).not.toContain('did you mean');
  });

  test('a secret in the place of a provider is not shown', async () => {
    const secret = 'Zq7secretOfTheSuiteThatMustNeverShow9xK';
    const warned = await resultOf(
      `process.on('warning', ({ message }) => console.log(JSON.stringify(message)));
      require(entry).getPlatform();`,
      { env: variables({ provider: secret }) },
    );
    expect(warned).toContain('MARAVILLA_MEDIA_PROVIDER');
    for (let i = 0; i < secret.length - 6; i += 1) expect(warned).not.toContain(secret.slice(i, i + 6));
  });

  test('the environment is read at the call, not at import', async () => {
    const result = await resultOf(
      `const { getPlatform } = require(entry);
      Object.assign(process.env, ${JSON.stringify(variables(WHOLE))});
      getPlatform().media.mediaUrl().then((url) => console.log(JSON.stringify(url)));`,
    );
    expect(result).toBe(WHOLE.url);
  });
});
