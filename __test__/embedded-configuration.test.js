'use strict';

// Options and variables of the embedded engine: where each is read from, and which values are valid.

require('./support/environment.js');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { inspect } = require('node:util');
const { clearPlatformCache, createPlatform, getPlatform } = require('../index.js');
const { resultOf } = require('./support/child.js');
const { VARIABLES, setEnv, variables, warnings } = require('./support/configuration.js');
const { ann, candidatesOf, freePort, occupy, openEmbedded, portOf } = require('./support/embedded.js');
const { failureIn } = require('./support/failure.js');
const { cleanUp } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

const EMBEDDED = { provider: 'embedded' };
const PAIR = { apiKey: 'key-of-ours', apiSecret: 'the-secret-itself' };

/** A platform whose configuration is in `env`. */
const openFrom = (fields, options = {}) => openEmbedded({ provider: undefined, ...options, env: variables({ ...EMBEDDED, ...fields }, 'embedded') });

async function claimsOf(media) {
  const { token, url } = await media.generateToken('room', ann);
  return { token, url, ...readToken(token).claims };
}

/** Two values of each option, and how to observe them. */
const VISIBLE = {
  host: { values: ['127.0.0.1', '127.0.0.2'], observe: async (media) => new URL(await media.mediaUrl()).hostname },
  port: { values: [], observe: async (media) => portOf(await media.mediaUrl()) },
  publicUrl: { values: ['wss://a.example', 'wss://b.example/media'], observe: async (media) => media.mediaUrl() },
  rtcPort: { values: [], observe: async (media) => Number((await candidatesOf(media))[0].split(' ')[2]) },
  rtcAddress: { values: ['127.0.0.7', '127.0.0.8'], observe: async (media) => (await candidatesOf(media))[0].split(' ')[1] },
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
  roomPrefix: { values: ['a:', 'b:'], observe: async (media) => (await claimsOf(media)).video.room.slice(0, -'room'.length) },
  tokenTtlSecs: {
    values: [100, 200],
    observe: async (media) => {
      const { nbf, exp } = await claimsOf(media);
      return exp - nbf;
    },
  },
};

describe.each(Object.keys(VISIBLE))('%s of the embedded engine', (field) => {
  const { observe } = VISIBLE[field];
  const others = field.startsWith('api') ? PAIR : {};
  let [first, second] = VISIBLE[field].values;
  if (field.toLowerCase().endsWith('port')) {
    beforeEach(async () => {
      [first, second] = [await freePort(), await freePort()];
    });
  }

  test('is read from its variable', async () => {
    expect(await observe(openFrom({ ...others, [field]: first }).media)).toBe(first);
  });

  test('is read from the option', async () => {
    expect(await observe(openEmbedded({ ...others, [field]: second }).media)).toBe(second);
  });

  test('is read from the option if both are given', async () => {
    expect(await observe(openFrom({ ...others, [field]: first }, { [field]: second }).media)).toBe(second);
  });

  test.each([undefined, ''])('is read from its variable if the option is %j', async (absent) => {
    expect(await observe(openFrom({ ...others, [field]: first }, { [field]: absent }).media)).toBe(first);
  });
});

describe('the embedded engine', () => {
  test('is selected by variable or option only', async () => {
    setEnv({ host: '127.0.0.1', port: 0, publicUrl: 'wss://rooms.example', rtcPort: await freePort(), rtcAddress: '192.0.2.7', ...PAIR }, 'embedded');
    expect(getPlatform().media).toBeUndefined();
    expect(createPlatform({ env: process.env }).media).toBeUndefined();
    clearPlatformCache();
    setEnv(EMBEDDED, 'embedded');
    expect(getPlatform().media).toBeDefined();
    expect(await openEmbedded({ provider: undefined, env: process.env }).media.mediaUrl()).toBe('wss://rooms.example');
    clearPlatformCache();
    expect(getPlatform({ provider: 'none' }).media).toBeUndefined();
    expect(createPlatform().media).toBeUndefined();
    expect(createPlatform(EMBEDDED).media).toBeDefined();
    expect(warnings()).toEqual([]);
  });

  test('needs no further configuration', async () => {
    const { media } = openEmbedded();
    const { iss, url, video, nbf, exp } = await claimsOf(media);
    expect(iss).toMatch(/^.{8,}$/);
    expect(url).toMatch(/^ws:\/\/127\.0\.0\.1:\d+$/);
    expect(video).toEqual({ roomJoin: true, room: 'room', canPublish: true, canSubscribe: true, canPublishData: true });
    expect(exp - nbf).toBe(21_600);
  });

  test('has a different key in each process if none is given', async () => {
    const script = `const { media } = require(entry).createPlatform({ provider: 'embedded' });
      media.generateToken('room', { identity: 'ann', name: '' }).then(({ token }) => console.log(JSON.stringify(token)));`;
    const keys = [await resultOf(script), await resultOf(script)].map((token) => readToken(token).claims.iss);
    expect(keys[0]).not.toBe(keys[1]);
  });

  test("ignores LiveKit's options and variables", async () => {
    const livekit = { url: 'not a url', apiUrl: 'ftp://x', apiKey: 'half' };
    setEnv(livekit);
    setEnv({ ...EMBEDDED, publicUrl: 'wss://own.example' }, 'embedded');
    expect(getPlatform().media).toBeDefined();
    const { iss, url } = await claimsOf(openEmbedded({ url: 'not a url', apiUrl: 'ftp://x', env: variables(livekit) }).media);
    expect(iss).not.toBe('half');
    expect(url).toMatch(/^ws:\/\/127\.0\.0\.1:/);
    expect(warnings()).toEqual([]);
  });

  test('reads the key from an option and the secret from a variable', async () => {
    const { media } = openFrom({ apiSecret: PAIR.apiSecret }, { apiKey: PAIR.apiKey });
    const { token, iss } = await claimsOf(media);
    expect(iss).toBe(PAIR.apiKey);
    expect(() => readToken(token, PAIR.apiSecret)).not.toThrow();
  });

  test.each(Object.entries({ host: '127.0.0.1', port: 0, publicUrl: 'wss://rooms.example', rtcPort: 50_000, rtcAddress: '192.0.2.7', webhookUrls: 'https://app.example' }))('must be the provider if option %s is given', (field, value) => {
    const error = failureIn(() => createPlatform({ [field]: value }));
    expect(error.code).toBe('INVALID_CONFIG');
    expect(error.message).toContain(field);
    expect(error.message).toContain('embedded');
    expect(createPlatform({ [field]: value, provider: 'none' }).media).toBeUndefined();
  });
});

describe('the host', () => {
  const loopback = { family: 'IPv4', address: '127.0.0.1', internal: true };
  const v4 = { family: 'IPv4', address: '192.0.2.7', internal: false };
  const v6 = { family: 'IPv6', address: '2001:db8::7', internal: false, scopeid: 0 };
  const local = { family: 'IPv6', address: 'fe80::7', internal: false, scopeid: 3 };

  const advertised = async (host) => new URL(await openEmbedded({ host }).media.mediaUrl()).hostname;

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.2', '127.0.0.2'],
    ['localhost', '127.0.0.1'],
    ['::1', '[::1]'],
    ['0:0:0:0:0:0:0:1', '[::1]'],
  ])('%s is in the URL as %s, and the engine listens there', async (host, expected) => {
    const { media } = openEmbedded({ host });
    const url = await media.mediaUrl();
    expect(new URL(url).hostname).toBe(expected);
    expect((await fetch(url.replace('ws', 'http'))).status).toBe(200);
  });

  test.each([
    ['0.0.0.0', [loopback, local, v6, v4], '192.0.2.7'],
    ['0.0.0.0', [loopback, v4, { ...v4, address: '192.0.2.8' }], '192.0.2.7'],
    ['0.0.0.0', [loopback, v6], '127.0.0.1'],
    ['0.0.0.0', [loopback], '127.0.0.1'],
    ['0.0.0.0', [], '127.0.0.1'],
    ['::', [loopback, v4, local, v6], '[2001:db8::7]'],
    ['::', [loopback, local, v4], '192.0.2.7'],
    ['::', [loopback], '[::1]'],
    ['0::0', [loopback, v6], '[2001:db8::7]'],
  ])('%s: the URL has the first non-loopback address: %#', async (host, addresses, expected) => {
    const interfaces = jest.spyOn(os, 'networkInterfaces').mockReturnValue({ one: addresses.slice(0, 1), two: addresses.slice(1) });
    try {
      expect(await advertised(host)).toBe(expected);
    } finally {
      interfaces.mockRestore();
    }
  });

  test('0.0.0.0 listens on loopback as well', async () => {
    const port = portOf(await openEmbedded({ host: '0.0.0.0' }).media.mediaUrl());
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(200);
  });
});

test.each([
  ['wss://rooms.example', 'wss://rooms.example'],
  ['https://rooms.example/', 'wss://rooms.example'],
  ['http://Rooms.Example:8080/a/media/', 'ws://rooms.example:8080/a/media'],
  ['ws://[::1]:7880', 'ws://[::1]:7880'],
])('publicUrl %s is given to clients as %s', async (publicUrl, expected) => {
  const { media } = openEmbedded({ publicUrl });
  expect(await media.mediaUrl()).toBe(expected);
  expect((await claimsOf(media)).url).toBe(expected);
});

describe('media', () => {
  const RTC_PORT = { code: 'INVALID_CONFIG', message: expect.stringContaining('MARAVILLA_MEDIA_RTC_PORT') };

  test.each([['UDP'], ['TCP']])('rtcPort in use for %s: the first call is INVALID_CONFIG', async (protocol) => {
    const port = await (protocol === 'TCP' ? occupy().then((taken) => taken.port) : occupyUdp());
    const { media } = openEmbedded({ rtcPort: port });
    await expect(media.listRooms()).rejects.toMatchObject(RTC_PORT);
    await expect(media.mediaUrl()).rejects.toMatchObject(RTC_PORT);
  });

  test('rtcPort is free after close()', async () => {
    const rtcPort = await freePort();
    const platform = openEmbedded({ rtcPort });
    await platform.media.mediaUrl();
    await expect(occupy(rtcPort)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await platform.close();
    await occupy(rtcPort);
  });

  test('rtcPort cannot equal port', () => {
    const fields = { port: 50_000, rtcPort: 50_000 };
    expect(failureIn(() => createPlatform({ ...EMBEDDED, ...fields }))).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining('rtcPort') });
    expect(createPlatform({ env: variables({ ...EMBEDDED, ...fields }, 'embedded') }).media).toBeUndefined();
    expect(warnings()[0]).toContain('MARAVILLA_MEDIA_RTC_PORT');
  });

  test.each([
    ['192.0.2.7', ['192.0.2.7']],
    ['2001:db8::7', ['2001:db8::7']],
    ['192.0.2.7,2001:DB8:0::7', ['192.0.2.7', '2001:db8::7']],
    [' 192.0.2.7 , 192.0.2.8\n', ['192.0.2.7', '192.0.2.8']],
    ['192.0.2.7,192.0.2.7', ['192.0.2.7']],
    ['::ffff:192.0.2.7', ['::ffff:192.0.2.7']],
    ['127.0.0.1', ['127.0.0.1']],
  ])('rtcAddress %j replaces the addresses of the machine in candidates', async (rtcAddress, addresses) => {
    const rtcPort = await freePort();
    const offered = await candidatesOf(openEmbedded({ rtcAddress, rtcPort }).media);
    expect(offered).toEqual(['tcp', 'udp'].flatMap((protocol) => addresses.map((address) => `${protocol} ${address} ${rtcPort}`)));
  });
});

/** A UDP port on loopback that is in use during the test. */
async function occupyUdp() {
  const socket = dgram.createSocket('udp4');
  cleanUp(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket.address().port;
}

/** Invalid configurations: the fields, and the field that the message must name. */
const INVALID = {
  'a key without a secret': [{ apiKey: 'k' }, 'apiSecret'],
  'a secret without a key': [{ apiSecret: 'the-secret-itself' }, 'apiKey'],
  'a key with a line break': [{ ...PAIR, apiKey: 'key\n' }, 'apiKey'],
  'a secret with a space': [{ ...PAIR, apiSecret: ' the-secret-itself' }, 'apiSecret'],
  'a prefix that ends in a digit': [{ roomPrefix: 't1' }, 'roomPrefix'],
  ...Object.fromEntries(
    ['rooms.example', '127.0.0.1:7880', '[::1]', 'fe80::1%lo', '256.1.1.1', '127.1', ' 127.0.0.1', '*', 'LOCALHOST', 'ws://127.0.0.1'].map((host) => [`host ${host}`, [{ host }, 'host']]),
  ),
  ...Object.fromEntries(['-1', '65536', '1.5', 'x', '0x10', '1e3', ' 5', '７８８０'].map((port) => [`port ${port}`, [{ port }, 'port']])),
  ...Object.fromEntries(['-1', '0', '65536', '1.5', 'x', '50000-60000'].map((rtcPort) => [`rtcPort ${rtcPort}`, [{ rtcPort }, 'rtcPort']])),
  ...Object.fromEntries(
    ['rooms.example', '192.0.2.7:50000', '[2001:db8::7]', 'fe80::1%lo', '0.0.0.0', '::', '0::0', '192.0.2.7,', ',', '192.0.2.7;192.0.2.8', '192.0.2.7 192.0.2.8', '192.0.2.256', Array.from({ length: 9 }, (_, last) => `192.0.2.${last}`).join()].map((rtcAddress) => [
      `rtcAddress ${rtcAddress}`,
      [{ rtcAddress }, 'rtcAddress'],
    ]),
  ),
  ...Object.fromEntries(
    ['not a url', 'app.example/webhook', 'ws://app.example', 'https://user:the-secret-itself@app.example', 'https://app.example#x', 'https://app.example,', Array.from({ length: 9 }, (_, last) => `http://app.example/${last}`).join()].map((webhookUrls) => [
      `webhookUrls ${webhookUrls}`,
      [{ webhookUrls }, 'webhookUrls'],
    ]),
  ),
  ...Object.fromEntries(
    ['not a url', 'rooms.example', 'ftp://rooms.example', 'wss://user:pass@rooms.example', 'wss://rooms.example?x=1', 'wss://rooms.example#x', 'ws://rooms.example:99999'].map((publicUrl) => [`publicUrl ${publicUrl}`, [{ publicUrl }, 'publicUrl']]),
  ),
};

describe.each(Object.entries(INVALID))('%s', (_, [fields, named]) => {
  test('in process.env: media is undefined, and one warning names the variable', () => {
    setEnv({ ...EMBEDDED, ...fields }, 'embedded');
    expect(getPlatform().media).toBeUndefined();
    expect(getPlatform().media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toContain(VARIABLES.embedded[named]);
    expect(warnings()[0]).not.toContain('the-secret-itself');
  });

  test('in env: media is undefined, and there is one warning', () => {
    expect(createPlatform({ env: variables({ ...EMBEDDED, ...fields }, 'embedded') }).media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
  });

  // In code these are numbers, which are tested below.
  if ('port' in fields || 'rtcPort' in fields) return;
  test('in code: throws INVALID_CONFIG', () => {
    for (const make of [getPlatform, createPlatform]) {
      const error = failureIn(() => make({ ...EMBEDDED, ...fields }));
      expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: make.name, retryable: false });
      expect(error.message.includes(named) || error.message.includes(VARIABLES.embedded[named])).toBe(true);
      expect(inspect(error, { showHidden: true, depth: Infinity })).not.toContain('the-secret-itself');
    }
    expect(warnings()).toEqual([]);
  });
});

test('port must be an integer from 0 to 65,535', () => {
  for (const port of [null, true, '5', 1n, Symbol('s'), {}, [], [5], () => 5, NaN, Infinity, -1, 0.5, 65_536, 2 ** 53]) {
    expect(failureIn(() => createPlatform({ ...EMBEDDED, port })).code).toBe('INVALID_CONFIG');
  }
  for (const port of [0, 1, 65_535]) expect(createPlatform({ ...EMBEDDED, port }).media).toBeDefined();
});

test('rtcPort must be an integer from 1 to 65,535', () => {
  for (const rtcPort of [null, true, '5', 1n, Symbol('s'), {}, [], [5], () => 5, NaN, Infinity, -1, 0, 0.5, 65_536, 2 ** 53]) {
    expect(failureIn(() => createPlatform({ ...EMBEDDED, rtcPort })).code).toBe('INVALID_CONFIG');
  }
  for (const rtcPort of [1, 65_535]) expect(createPlatform({ ...EMBEDDED, rtcPort }).media).toBeDefined();
});

test.each([[[7]], [['https://a.example', undefined]], [['https://a.example,https://b.example']], [{}], [7]])('webhookUrls %j is INVALID_CONFIG', (webhookUrls) => {
  expect(failureIn(() => createPlatform({ ...EMBEDDED, webhookUrls }))).toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining('webhookUrls') });
});

test('an invalid rtcAddress is INVALID_CONFIG, and the message names the option and the invalid part', () => {
  const { code, message } = failureIn(() => createPlatform({ ...EMBEDDED, rtcAddress: '192.0.2.7, rooms.example' }));
  expect(code).toBe('INVALID_CONFIG');
  expect(message).toContain('rtcAddress');
  expect(message).toContain('"rooms.example"');
});

test('an unknown provider is INVALID_CONFIG, and the message names all providers', () => {
  const { code, message } = failureIn(() => createPlatform({ provider: 'embeded' }));
  expect(code).toBe('INVALID_CONFIG');
  for (const known of ['livekit', 'embedded', 'none']) expect(message).toContain(known);
});

describe('getPlatform', () => {
  const first = { ...EMBEDDED, ...PAIR, host: '127.0.0.1', port: 0, publicUrl: 'wss://a.example', rtcPort: 50_000, rtcAddress: '192.0.2.7', roomPrefix: 'a:' };
  const changed = { provider: 'livekit', host: '::1', port: 1, publicUrl: 'wss://b.example', rtcPort: 50_001, rtcAddress: '192.0.2.8', apiKey: 'other', apiSecret: 'another-secret', roomPrefix: 'b:', tokenTtlSecs: 5, timeoutMs: 5 };

  test.each(Object.entries(changed))('with another %s throws INVALID_CONFIG, and the message names it', (field, value) => {
    const platform = getPlatform(first);
    expect(getPlatform({ ...first })).toBe(platform);
    const error = failureIn(() => getPlatform({ ...first, [field]: value }));
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: 'getPlatform' });
    expect(error.message).toContain(field);
    for (const secret of [PAIR.apiSecret, changed.apiSecret]) expect(inspect(error, { showHidden: true, depth: Infinity })).not.toContain(secret);
    expect(getPlatform()).toBe(platform);
  });

  test('makes a new platform when a variable of the engine changes, and not for one of LiveKit', () => {
    const env = { ...EMBEDDED, port: 0 };
    setEnv(env, 'embedded');
    const platform = getPlatform();
    expect(getPlatform({ env: { ...variables(env, 'embedded'), LIVEKIT_URL: 'wss://other.example' } })).toBe(platform);
    expect(getPlatform({ env: variables({ ...env, port: 1 }, 'embedded') })).not.toBe(platform);
  });
});

describe('production', () => {
  const script = (body) => `
    const warned = [];
    process.on('warning', ({ name, code }) => warned.push([name, code].join(' ')));
    const platform = require(entry);
    ${body}
    setImmediate(() => console.log(JSON.stringify(warned)));`;
  const WARNING = ['MaravillaWarning MARAVILLA_EMBEDDED_IN_PRODUCTION'];
  const NODE_ENV = 'production';

  test.each([
    ['getPlatform, three times', `for (let i = 0; i < 3; i += 1) { platform.getPlatform({ provider: 'embedded' }); platform.clearPlatformCache(); }`],
    ['createPlatform, three times', `for (let i = 0; i < 3; i += 1) platform.createPlatform({ provider: 'embedded' });`],
    ['the package loaded twice', `platform.getPlatform({ provider: 'embedded' }); for (const file of Object.keys(require.cache)) delete require.cache[file]; require(entry).createPlatform({ provider: 'embedded' });`],
  ])('emits one warning: %s', async (_, body) => {
    expect(await resultOf(script(body), { env: { NODE_ENV } })).toEqual(WARNING);
  });

  test('emits no further warning in threads', async () => {
    const result = await resultOf(
      `const { Worker } = require('worker_threads');
      const warned = [];
      process.on('warning', ({ code }) => warned.push(code));
      require(entry).createPlatform({ provider: 'embedded' });
      new Worker("const warned = []; process.on('warning', ({ code }) => warned.push(code)); require(" + JSON.stringify(entry) + ").createPlatform({ provider: 'embedded' }); setImmediate(() => require('worker_threads').parentPort.postMessage(warned));", { eval: true })
        .once('message', (inWorker) => console.log(JSON.stringify({ warned, inWorker })));`,
      { env: { NODE_ENV } },
    );
    expect(result).toEqual({ warned: ['MARAVILLA_EMBEDDED_IN_PRODUCTION'], inWorker: [] });
  });

  test('is read from the environment in use', async () => {
    const inEnv = `platform.createPlatform({ env: { NODE_ENV: 'production', MARAVILLA_MEDIA_PROVIDER: 'embedded' } });`;
    expect(await resultOf(script(inEnv))).toEqual(WARNING);
    const elsewhere = `platform.createPlatform({ env: { NODE_ENV: 'development', MARAVILLA_MEDIA_PROVIDER: 'embedded' } });`;
    expect(await resultOf(script(elsewhere), { env: { NODE_ENV } })).toEqual([]);
  });

  test('emits no warning without the engine, or outside production', async () => {
    const livekit = `platform.createPlatform({ apiKey: 'k', apiSecret: 's' }); platform.createPlatform({ provider: 'none' });`;
    expect(await resultOf(script(livekit), { env: { NODE_ENV } })).toEqual([]);
    for (const other of ['', 'development', 'test']) {
      expect(await resultOf(script(`platform.createPlatform({ provider: 'embedded' });`), { env: { NODE_ENV: other } })).toEqual([]);
    }
  });
});

test('index.d.ts has the options and variables of the tests', () => {
  const types = fs.readFileSync(path.join(__dirname, '../index.d.ts'), 'utf8');
  const options = /interface PlatformOptions \{([\s\S]*?)\n\}/.exec(types)[1];
  const fields = [...options.matchAll(/^ {2}(\w+)\?:/gm)].map(([, field]) => field);
  const ours = Object.values(VARIABLES);
  expect(fields.sort()).toEqual([...new Set(ours.flatMap(Object.keys)), 'env', 'devServerUrl', 'tenant'].sort());
  for (const variable of ours.flatMap(Object.values)) expect(options).toContain(variable);
});
