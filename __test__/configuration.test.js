'use strict';

// Options and variables: where each is read from, and which values are valid.

require('./support/environment.js');
const { inspect } = require('node:util');
const { clearPlatformCache, createPlatform, getPlatform } = require('../index.js');
const { VARIABLES: { livekit: VARIABLES }, KEY_AND_SECRET, WHOLE, ann, claimsOf, setEnv, variables, warnings } = require('./support/configuration.js');
const { failureIn, failureOf } = require('./support/failure.js');
const { silence } = require('./support/fault-server.js');
const { roomCalls } = require('./support/media.js');
const { serve } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

/** Options with an effect on tokens, and how to observe it. */
const VISIBLE = {
  url: { values: ['wss://a.example', 'wss://b.example'], observe: async (media) => media.mediaUrl() },
  apiKey: { values: ['key-a', 'key-b'], observe: async (media) => (await claimsOf(media)).iss },
  apiSecret: {
    values: ['secret-a', 'secret-b'],
    observe: async (media) => {
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
  roomPrefix: { values: ['a:', 'b:'], observe: async (media) => (await claimsOf(media)).video.room.slice(0, -'room'.length), default: '' },
  tokenTtlSecs: {
    values: [100, 200],
    observe: async (media) => {
      const { nbf, exp } = await claimsOf(media);
      return exp - nbf;
    },
    default: 21_600,
  },
};

describe.each(Object.entries(VISIBLE))('%s', (field, { values: [first, second], observe, default: defaultValue }) => {
  const others = { ...WHOLE };
  delete others[field];

  test('is read from its variable', async () => {
    setEnv({ ...others, [field]: first });
    expect(await observe(getPlatform().media)).toBe(first);
  });

  test('is read from the option', async () => {
    expect(await observe(createPlatform({ ...others, [field]: second }).media)).toBe(second);
  });

  test('is read from the option if both are given, and the other options keep their values', async () => {
    setEnv({ ...WHOLE, roomPrefix: 'env:', tokenTtlSecs: 77, [field]: first });
    const { media } = getPlatform({ [field]: second });
    expect(await observe(media)).toBe(second);
    for (const [other, { observe: observeOther }] of Object.entries(VISIBLE)) {
      if (other === field || other === 'apiSecret') continue;
      expect(await observeOther(media)).toBe({ ...WHOLE, roomPrefix: 'env:', tokenTtlSecs: 77 }[other]);
    }
  });

  test.each([undefined, ''])('is read from its variable if the option is %j', async (absent) => {
    setEnv({ ...others, [field]: first });
    expect(await observe(getPlatform({ [field]: absent }).media)).toBe(first);
  });

  if (defaultValue !== undefined) {
    test.each([undefined, ''])(`is ${JSON.stringify(defaultValue)} if option and variable are %j`, async (absent) => {
      if (absent !== undefined) setEnv({ [field]: absent });
      expect(await observe(getPlatform({ ...others, [field]: absent }).media)).toBe(defaultValue);
    });
  }
});

describe('provider', () => {
  test('is livekit by default if key and secret are set', () => {
    setEnv(KEY_AND_SECRET);
    expect(getPlatform().media).toBeDefined();
    expect(createPlatform(KEY_AND_SECRET).media).toBeDefined();
  });

  test('is livekit by default, whatever the variables of the embedded engine are', async () => {
    setEnv(WHOLE);
    setEnv({ host: 'not an address', port: 'x', publicUrl: 'not a url', rtcPort: 'x', rtcAddress: 'x', apiKey: 'half' }, 'embedded');
    expect(await claimsOf(getPlatform().media)).toMatchObject({ url: WHOLE.url, iss: WHOLE.apiKey });
    expect(warnings()).toEqual([]);
  });

  test('is none by default if nothing is set', () => {
    expect(getPlatform().media).toBeUndefined();
    expect(createPlatform().media).toBeUndefined();
    expect(createPlatform({}).media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is none if its variable is none, whatever else is set', () => {
    setEnv({ ...WHOLE, provider: 'none' });
    expect(getPlatform().media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is none if the option is none, whatever else is set or invalid', () => {
    setEnv({ ...WHOLE, provider: 'livekit', url: 'not a url' });
    expect(getPlatform({ provider: 'none' }).media).toBeUndefined();
    expect(createPlatform({ ...WHOLE, provider: 'none' }).media).toBeUndefined();
    expect(warnings()).toEqual([]);
  });

  test('is livekit if the option is livekit, whatever the variable is', () => {
    setEnv({ ...WHOLE, provider: 'none' });
    expect(getPlatform({ provider: 'livekit' }).media).toBeDefined();
  });

  test.each([undefined, ''])('%j counts as absent', (provider) => {
    setEnv({ ...WHOLE, provider: '' });
    expect(getPlatform({ provider }).media).toBeDefined();
  });
});

describe('apiUrl', () => {
  test('is the URL for calls, while clients receive url', async () => {
    const [api, other] = [await serve(), await serve()];
    setEnv({ ...KEY_AND_SECRET, url: other.url, apiUrl: api.url });
    const { media } = getPlatform();
    await media.listRooms();
    expect([api.requests.length, other.connections]).toEqual([1, 0]);
    expect(await media.mediaUrl()).toBe(other.url.replace('http', 'ws'));
  });

  test('as an option overrides the variable', async () => {
    const [api, other] = [await serve(), await serve()];
    setEnv({ ...WHOLE, apiUrl: other.url });
    await getPlatform({ apiUrl: api.url }).media.listRooms();
    expect([api.requests.length, other.connections]).toEqual([1, 0]);
  });

  test.each([undefined, ''])('defaults to url if it is %j', async (absent) => {
    const server = await serve();
    await createPlatform({ ...KEY_AND_SECRET, url: server.url, apiUrl: absent }).media.listRooms();
    expect(server.requests).toHaveLength(1);
  });

  test('without url: room calls succeed, and generateToken is URL_NOT_CONFIGURED', async () => {
    const server = await serve();
    setEnv({ ...KEY_AND_SECRET, apiUrl: server.url });
    const { media } = getPlatform();
    for (const call of Object.values(roomCalls)) await call(media);
    expect(await failureOf(media.generateToken('room', ann))).toMatchObject({ code: 'URL_NOT_CONFIGURED', operation: 'generateToken', retryable: false });
    expect(await media.mediaUrl()).toBeNull();
    expect(warnings()).toEqual([]);
  });

  test('accepts ws and wss', async () => {
    const server = await serve();
    await createPlatform({ ...KEY_AND_SECRET, apiUrl: server.url.replace('http', 'WS') }).media.listRooms();
    expect(server.requests).toHaveLength(1);
  });
});

describe('timeoutMs', () => {
  const timeoutWith = async (options, fields = {}) => {
    const server = await serve(silence);
    setEnv({ ...KEY_AND_SECRET, url: server.url, ...fields });
    const started = performance.now();
    expect((await failureOf(getPlatform(options).media.listRooms())).code).toBe('TIMEOUT');
    return performance.now() - started;
  };

  test('is read from its variable', async () => {
    expect(await timeoutWith({}, { timeoutMs: 80 })).toBeLessThan(1000);
  });

  test('is read from the option if both are given', async () => {
    expect(await timeoutWith({ timeoutMs: 80 }, { timeoutMs: 600_000 })).toBeLessThan(1000);
  });

  // The default is tested in errors.test.js.
});

describe('env', () => {
  test('is read instead of process.env', async () => {
    setEnv(WHOLE);
    expect(getPlatform({ env: {} }).media).toBeUndefined();
    clearPlatformCache();
    const env = variables({ ...KEY_AND_SECRET, url: 'wss://other.example' });
    expect(await getPlatform({ env }).media.mediaUrl()).toBe('wss://other.example');
    clearPlatformCache();
    expect(await createPlatform({ env }).media.mediaUrl()).toBe('wss://other.example');
  });

  test('is overridden by options, one by one', async () => {
    const { media } = createPlatform({ env: variables({ ...WHOLE, roomPrefix: 'env:' }), url: 'wss://option.example' });
    expect(await claimsOf(media)).toMatchObject({ url: 'wss://option.example', iss: WHOLE.apiKey, video: { room: 'env:room' } });
  });

  test('undefined is process.env for getPlatform, and an empty environment for createPlatform', () => {
    setEnv(WHOLE);
    expect(getPlatform({ env: undefined }).media).toBeDefined();
    expect(createPlatform({ env: undefined }).media).toBeUndefined();
  });

  test('can be frozen, without a prototype, or contain undefined', () => {
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
  ])('%s is given to clients as %s', async (url, expected) => {
    const { media } = createPlatform({ ...KEY_AND_SECRET, url });
    expect(await media.mediaUrl()).toBe(expected);
    expect((await media.generateToken('room', ann)).url).toBe(expected);
  });

  test('missing beside key and secret: every call is URL_NOT_CONFIGURED', async () => {
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

/** Invalid configurations: the fields, and the fields that the message must name. */
const INVALID = {
  'a key without a secret': [{ apiKey: 'k', url: WHOLE.url }, ['apiSecret']],
  'a secret without a key': [{ apiSecret: 'the-secret-itself', url: WHOLE.url }, ['apiKey']],
  'only a key': [{ apiKey: 'k' }, ['apiSecret']],
  'only a secret': [{ apiSecret: 'the-secret-itself' }, ['apiKey']],
  'only url': [{ url: WHOLE.url }, ['apiKey', 'apiSecret']],
  'only apiUrl': [{ apiUrl: WHOLE.url }, ['apiKey', 'apiSecret']],
  'a provider without its key and secret': [{ provider: 'livekit' }, ['apiKey', 'apiSecret']],
  'an unknown provider': [{ ...WHOLE, provider: 'zoom' }, ['provider']],
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

describe.each(Object.entries(INVALID))('%s', (_, [fields, named]) => {
  test('in process.env: media is undefined, and one warning names the variable', () => {
    setEnv(fields);
    const platform = getPlatform();
    expect(platform.media).toBeUndefined();
    expect(getPlatform()).toBe(platform);
    expect(warnings()).toHaveLength(1);
    for (const field of named) expect(warnings()[0]).toContain(VARIABLES[field]);
    expect(warnings()[0]).not.toContain('the-secret-itself');
    expect(warnings()[0]).not.toContain(WHOLE.apiSecret);
  });

  test('in env: media is undefined, and there is one warning', () => {
    expect(createPlatform({ env: variables(fields) }).media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
  });

  // In code these are numbers, which have a table of their own below.
  if ('tokenTtlSecs' in fields || 'timeoutMs' in fields) return;
  test('in code: throws INVALID_CONFIG', () => {
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
  const invalidTypes = [null, true, 0, 1n, Symbol('s'), {}, [], () => 'x'];

  test.each(['provider', 'url', 'apiUrl', 'apiKey', 'apiSecret', 'roomPrefix', 'host', 'publicUrl', 'rtcAddress'])('%s must be a string', (field) => {
    for (const value of invalidTypes) {
      expect(failureIn(() => createPlatform({ ...WHOLE, [field]: value })).code).toBe('INVALID_CONFIG');
    }
  });

  test.each(['tokenTtlSecs', 'timeoutMs'])('%s must be an integer from 1', (field) => {
    for (const value of [null, true, '5', 1n, Symbol('s'), {}, [], [5], () => 5, NaN, Infinity, -Infinity, 0, -1, 0.5, 1.5, 2 ** 31, 2 ** 32, 2 ** 53]) {
      expect(failureIn(() => createPlatform({ ...WHOLE, [field]: value })).code).toBe('INVALID_CONFIG');
    }
  });

  test.each([['tokenTtlSecs', 2_592_000], ['timeoutMs', 2 ** 31 - 1]])('%s accepts 1 and %i', (field, max) => {
    for (const value of [1, max]) expect(createPlatform({ ...WHOLE, [field]: value }).media).toBeDefined();
    setEnv({ ...WHOLE, [field]: max });
    expect(getPlatform().media).toBeDefined();
  });

  test.each(['app:', 'app-', 'app_', '🙂', '/', ' '])('roomPrefix accepts %j', async (roomPrefix) => {
    const { media } = createPlatform({ ...WHOLE, roomPrefix });
    expect((await claimsOf(media)).video.room).toBe(`${roomPrefix}room`);
  });

  test('and env must be objects', () => {
    for (const value of [null, true, 0, 'x', 1n, Symbol('s'), [], () => ({})]) {
      for (const make of [getPlatform, createPlatform]) {
        expect(failureIn(() => make(value)).code).toBe('INVALID_CONFIG');
        expect(failureIn(() => make({ env: value })).code).toBe('INVALID_CONFIG');
      }
    }
  });

  test.each([['apikey', 'apiKey'], ['apiSecert', 'apiSecret'], ['apiURL', 'apiUrl'], ['tokenTtlSec', 'tokenTtlSecs'], ['timeoutMS', 'timeoutMs'], ['roomPrefx', 'roomPrefix'], ['providers', 'provider'], ['uri', 'url'], ['publicURL', 'publicUrl'], ['hosts', 'host'], ['ports', 'port'], ['rtcport', 'rtcPort'], ['rtcAdress', 'rtcAddress'], ['rtcAddresses', 'rtcAddress']])(
    'misspelt are INVALID_CONFIG, and the message names the intended one: %s',
    (typo, near) => {
      const error = failureIn(() => createPlatform({ ...WHOLE, [typo]: 'x' }));
      expect(error.code).toBe('INVALID_CONFIG');
      expect(error.message).toContain(near);
    },
  );

  test('similar to short names only are ignored', () => {
    for (const other of ['ttl', 'dev', 'name', 'use']) expect(createPlatform({ ...WHOLE, [other]: 'x' }).media).toBeDefined();
  });

  test('that are undefined count as absent', () => {
    const all = Object.fromEntries([...Object.keys(VARIABLES), 'host', 'port', 'publicUrl', 'rtcPort', 'rtcAddress', 'webhookUrls', 'env', 'devServerUrl', 'tenant'].map((name) => [name, undefined]));
    expect(createPlatform(all).media).toBeUndefined();
    expect(getPlatform(all).media).toBeUndefined();
  });
});
