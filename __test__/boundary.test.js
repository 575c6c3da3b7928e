'use strict';

// The boundary between the package and its environment: loading, values and errors in the caller's realm, stacks, and the addon.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { MediaError, createPlatform } = require('../index.js');
const { coreFunctions, loadOverCore } = require('./support/broken-core.js');
const { resultOf, root, runNode } = require('./support/child.js');
const { failureIn, failureOf } = require('./support/failure.js');
const { healthy, html, livekit, protobuf, reset, silence } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { addons, installCopy, temporaryFolder } = require('./support/package-copy.js');
const { serve, serveMedia } = require('./support/serve.js');

const ann = { identity: 'ann', name: 'Ann' };
const optionsFor = (server, more = {}) => JSON.stringify({ url: server.url, apiKey, apiSecret, ...more });
const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');
const nameExported = 'MediaError,clearPlatformCache,createPlatform,getCurrentRequestStore,getPlatform,isMediaError,runWithRequest';

describe('the package', () => {
  test('is imported without loading the addon, opening resources, starting threads or printing', async () => {
    const script = `
      process.report.excludeNetwork = true;
      const before = process.getActiveResourcesInfo().length;
      const threads = () => (process.platform === 'linux' ? require('fs').readdirSync('/proc/self/task').length : 0);
      const threadsBefore = threads();
      const globals = Object.getOwnPropertyNames(globalThis).length + Object.getOwnPropertySymbols(globalThis).length;
      const listeners = process.eventNames().length;
      require(entry);
      console.log(JSON.stringify({
        resources: process.getActiveResourcesInfo().length - before,
        threads: threads() - threadsBefore,
        globals: Object.getOwnPropertyNames(globalThis).length + Object.getOwnPropertySymbols(globalThis).length - globals,
        listeners: process.eventNames().length - listeners,
        addons: process.report.getReport().sharedObjects.filter((file) => file.endsWith('.node')),
      }));`;
    const { code, stdout, stderr } = await runNode(script, { env: { LIVEKIT_URL: 'not a url', LIVEKIT_API_KEY: 'k' } });
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual({ resources: 0, threads: 0, globals: 0, listeners: 0, addons: [] });
  });

  test('loads through require, import and import(), as one module', async () => {
    const folder = temporaryFolder();
    installCopy(folder, 'linked');
    const result = await resultOf(
      `import { createRequire } from 'node:module';
      import whole, * as named from '@maravilla-labs/platform';
      import { getPlatform } from '@maravilla-labs/platform';
      const required = createRequire(${JSON.stringify(path.join(folder, 'x.js'))})('@maravilla-labs/platform');
      const dynamic = await import('@maravilla-labs/platform');
      console.log(JSON.stringify({
        names: Object.keys(required).sort().join(),
        same: [whole, dynamic.default].every((each) => each === required) && [named, dynamic].every((each) => each.getPlatform === getPlatform),
        named: ${JSON.stringify(nameExported)}.split(',').every((name) => named[name] === required[name]),
        media: getPlatform().media === required.getPlatform().media,
        url: await getPlatform().media.mediaUrl(),
      }));`,
      { cwd: folder, module: true, env: { LIVEKIT_URL: 'ws://rooms.example', LIVEKIT_API_KEY: 'k', LIVEKIT_API_SECRET: 's' } },
    );
    expect(result).toEqual({ names: nameExported, same: true, named: true, media: true, url: 'ws://rooms.example' });
  });

  test('loads in Vite SSR, and keeps its platform across a hot reload', async () => {
    const server = await serve();
    const folder = temporaryFolder();
    installCopy(folder, 'linked');
    fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
    fs.writeFileSync(
      path.join(folder, 'rooms.js'),
      `import { getPlatform, isMediaError, MediaError } from '@maravilla-labs/platform';
      export const platform = getPlatform();
      export const create = async (name) => (await platform.media.createRoom(name)).name;
      export const fail = () => platform.media.createRoom('').catch((error) => [error.code, isMediaError(error), error instanceof MediaError, error instanceof Error]);`,
    );
    const result = await resultOf(
      `import { createServer } from ${JSON.stringify(vite)};
      const vite = await createServer({ root: ${JSON.stringify(folder)}, configFile: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true } });
      const first = await vite.ssrLoadModule('/rooms.js');
      vite.moduleGraph.invalidateAll();
      const second = await vite.ssrLoadModule('/rooms.js');
      const result = { reloaded: first.create !== second.create, same: first.platform === second.platform, created: [await first.create('one'), await second.create('two')], failed: await second.fail() };
      await vite.close();
      console.log(JSON.stringify(result));`,
      { cwd: folder, module: true, env: { LIVEKIT_URL: server.url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } },
    );
    expect(result).toEqual({ reloaded: true, same: true, created: ['one', 'two'], failed: ['INVALID_ARGUMENT', true, true, true] });
  });

  test('is bundled for browsers without an error', async () => {
    const folder = temporaryFolder();
    installCopy(folder, 'linked');
    fs.writeFileSync(path.join(folder, 'page.js'), `import { getPlatform } from '@maravilla-labs/platform';\nconsole.log(getPlatform);`);
    const result = await resultOf(
      `import { build } from ${JSON.stringify(vite)};
      const rollupOptions = { input: ${JSON.stringify(path.join(folder, 'page.js'))} };
      const { output } = await build({ root: ${JSON.stringify(folder)}, configFile: false, logLevel: 'error', build: { write: false, rollupOptions } });
      console.log(JSON.stringify(output.map(({ code }) => code.includes('getPlatform') && !code.includes('.node'))));`,
      { cwd: folder, module: true },
    );
    expect(result).toEqual([true]);
  });

  test.each(['copied', 'linked'])('works as two copies in one process (addon %s)', async (addon) => {
    const server = await serve();
    const copy = installCopy(temporaryFolder(), addon);
    const result = await resultOf(
      `const media = [entry, ${JSON.stringify(copy)}, entry].map((file) => require(file).createPlatform(${optionsFor(server)}).media);
      (async () => {
        const names = [];
        for (const each of [...media, ...media]) names.push((await each.createRoom('room')).name, (await each.generateToken('room', { identity: 'a', name: '' })).token.length > 99);
        console.log(JSON.stringify(names));
      })();`,
    );
    expect(result).toEqual(Array.from({ length: 6 }, () => ['room', true]).flat());
  });
});

describe('under jest', () => {
  test('results are plain objects of this realm', async () => {
    const { server, media } = await serveMedia();
    server.respond = ({ method, ...exchange }) => {
      if (method === 'ListRooms') return protobuf(new livekit.ListRoomsResponse({ rooms: [{ name: 'a' }] }))(exchange);
      if (method === 'ListParticipants') return protobuf(new livekit.ListParticipantsResponse({ participants: [{ identity: 'a', attributes: { b: 'c' }, tracks: [{ sid: 'T' }] }] }))(exchange);
      return healthy()({ method, ...exchange });
    };
    const plain = (value) => {
      if (Array.isArray(value)) {
        expect(Object.getPrototypeOf(value)).toBe(Array.prototype);
        value.forEach(plain);
      } else if (typeof value === 'object' && value !== null) {
        expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
        for (const key of Reflect.ownKeys(value)) {
          expect(Object.getOwnPropertyDescriptor(value, key)).toMatchObject({ writable: true, enumerable: true, configurable: true });
          plain(value[key]);
        }
      } else {
        expect(['string', 'number', 'boolean']).toContain(typeof value);
      }
    };
    const results = [await media.createRoom('room'), await media.listRooms(), await media.listParticipants('room'), await media.generateToken('room', ann)];
    for (const result of results) {
      plain(result);
      expect(JSON.stringify(structuredClone(result))).toBe(JSON.stringify(result));
    }
    for (const promise of [media.listRooms(), media.generateToken('room', ann), media.mediaUrl()]) {
      expect(promise).toBeInstanceOf(Promise);
      await promise;
    }
  });

  test('errors are errors of this realm', async () => {
    const { media } = await serveMedia(html(502));
    for (const call of [() => media.createRoom(''), () => media.createRoom('room'), () => media.listRooms({ timeoutMs: 0 })]) {
      const error = await call().catch((caught) => caught);
      expect(error).toBeInstanceOf(MediaError);
      expect(error).toBeInstanceOf(Error);
    }
  });

  test('modules can be reset between calls', async () => {
    const server = await serve();
    for (let round = 0; round < 3; round += 1) {
      jest.resetModules();
      const { createPlatform: create } = require('../index.js');
      expect((await create({ url: server.url, apiKey, apiSecret }).media.createRoom('room')).name).toBe('room');
    }
  });
});

describe('an error of the native core', () => {
  const calls = { ...roomCalls, generateToken: (media) => media.generateToken('room', ann) };
  const panic = () => {
    throw new Error('panicked');
  };
  const truncated = '{"name":';

  test.each([
    ['throws', calls, panic],
    ['throws a string', calls, () => { throw 'panicked'; }],
    ['rejects', roomCalls, () => Promise.reject(new Error('panicked'))],
    ['rejects with undefined', roomCalls, () => Promise.reject()],
    ['returns truncated JSON', roomCalls, () => truncated],
    ['resolves with truncated JSON', roomCalls, async () => truncated],
  ])('that %s is INTERNAL in every method', async (_, affected, broken) => {
    for (const [operation, call] of Object.entries(affected)) {
      const { media } = loadOverCore((name) => (name === operation ? broken : undefined));
      expect(await failureOf(call(media))).toMatchObject({ code: 'INTERNAL', operation, retryable: false });
    }
  });

  test('is the cause of the MediaError', async () => {
    const cause = new Error('panicked');
    const { media } = loadOverCore((name) => (name === 'listRooms' ? () => Promise.reject(cause) : undefined));
    expect((await failureOf(media.listRooms())).cause).toBe(cause);
  });

  test('in any function becomes a MediaError, also in createPlatform', async () => {
    const reached = new Set();
    for (const broken of coreFunctions()) {
      const { media, thrown } = loadOverCore((name) => (name === broken ? panic : undefined));
      const outcomes = thrown ? [thrown] : await Promise.all(Object.values(calls).map((call) => call(media).catch((error) => error)));
      for (const error of outcomes.filter((outcome) => outcome instanceof Error)) {
        expect([broken, error.name]).toEqual([broken, 'MediaError']);
        if (error.code === 'INTERNAL') reached.add(broken);
      }
    }
    expect(reached.size).toBeGreaterThan(Object.keys(calls).length);
  });
});

describe('a stack', () => {
  /** The first line of this file in a stack. */
  function callerIn(error) {
    const line = error.stack.split('\n').find((each) => each.includes(__filename));
    return Number(/:(\d+):\d+\)?$/.exec(line)?.[1]);
  }

  /** The current line. */
  const here = () => Number(/:(\d+):\d+\)?$/.exec(new Error().stack.split('\n')[2])[1]);

  test('contains the calling line for an invalid argument', async () => {
    const media = mediaAt('ws://127.0.0.1:1');
    let line;
    async function route() {
      line = here() + 1;
      await media.createRoom('');
    }
    const error = await failureOf(route());
    expect(callerIn(error)).toBe(line);
    expect(error.stack).toContain('route');
  });

  test.each([
    ['an error response', html(502)],
    ['a reset', reset],
  ])('contains the awaiting functions after %s', async (_, answer) => {
    const { media } = await serveMedia(answer);
    for (const [operation, call] of Object.entries(roomCalls)) {
      let line;
      async function inner() {
        line = here() + 1;
        await call(media);
      }
      async function outer() {
        await inner();
      }
      const error = await failureOf(outer());
      expect(error.operation).toBe(operation);
      expect(error.stack).toMatch(/^MediaError: /);
      // The first line of this file: `call` is in support/media.js.
      expect(callerIn(error)).toBe(line);
      expect(error.stack).toContain('inner');
      expect(error.stack).toContain('outer');
    }
  });

  test('contains the function of each call that shares a request', async () => {
    const { media } = await serveMedia(html(502));
    async function first() {
      await media.createRoom('room');
    }
    async function second() {
      await media.createRoom('room');
    }
    const [one, two] = await Promise.all([failureOf(first()), failureOf(second())]);
    expect(one.stack).toContain('first');
    expect(two.stack).toContain('second');
    expect(two.stack).not.toContain('first');
  });

  test('contains the awaiting function after a timeout and an abort', async () => {
    const { server, media } = await serveMedia(silence);
    async function slow() {
      await media.listRooms({ timeoutMs: 30 });
    }
    expect((await failureOf(slow())).stack).toContain('slow');
    const aborting = new AbortController();
    async function aborted() {
      await media.listRooms({ signal: aborting.signal });
    }
    const failing = failureOf(aborted());
    await server.received(2);
    aborting.abort();
    expect((await failing).stack).toContain('aborted');
  });

  test('contains the calling function for an invalid configuration', () => {
    function configure() {
      createPlatform({ apiKey: 'k' });
    }
    expect(failureIn(configure).stack).toContain('configure');
  });

  test('is captured for failures only', async () => {
    const { media } = await serveMedia();
    const prepare = jest.fn((error) => String(error));
    const before = Error.prepareStackTrace;
    Error.prepareStackTrace = prepare;
    try {
      await media.createRoom('room');
      await media.generateToken('room', ann);
    } finally {
      Error.prepareStackTrace = before;
    }
    expect(prepare).not.toHaveBeenCalled();
  });
});

const needsGlibcAddon = process.platform === 'linux' && process.report.getReport().header.glibcVersionRuntime !== undefined;
(needsGlibcAddon ? describe : describe.skip)('the addon for Linux with glibc', () => {
  const gnu = addons().filter((name) => name.includes('linux') && name.includes('gnu'));

  test.each(gnu)('requires at most glibc 2.28: %s', (name) => {
    const versions = fs.readFileSync(path.join(root, name), 'latin1').match(/GLIBC_\d+\.\d+/g);
    expect(versions.length).toBeGreaterThan(0);
    const newest = versions.map((version) => version.slice('GLIBC_'.length).split('.').map(Number)).sort(([a, b], [c, d]) => c - a || d - b)[0];
    expect(newest[0]).toBe(2);
    expect(newest[1]).toBeLessThanOrEqual(28);
  });

  test('is built', () => {
    expect(gnu).not.toEqual([]);
  });

  test.each(gnu)('has at most 14 MB: %s', (name) => {
    expect(fs.statSync(path.join(root, name)).size).toBeLessThan(14_000_000);
  });
});
