'use strict';

require('./support/environment.js');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { MediaError, createPlatform } = require('../index.js');
const { coreFunctions, loadOverCore } = require('./support/broken-core.js');
const { entry, resultOf, root, runNode } = require('./support/child.js');
const { failureIn, failureOf } = require('./support/failure.js');
const { healthy, held, html, livekit, protobuf, reset, silence } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { addons, installCopy, temporaryFolder } = require('./support/package-copy.js');
const { serve, serveMedia } = require('./support/serve.js');

const ann = { identity: 'ann', name: 'Ann' };
const optionsFor = (server, more = {}) => JSON.stringify({ url: server.url, apiKey, apiSecret, ...more });
const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');
const nameExported = 'MediaError,clearPlatformCache,createPlatform,getCurrentRequestStore,getPlatform,isMediaError,runWithRequest';

describe('the package', () => {
  test('is imported without loading an addon, opening, starting or printing anything', async () => {
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
      const result = { anew: first.create !== second.create, same: first.platform === second.platform, created: [await first.create('one'), await second.create('two')], failed: await second.fail() };
      await vite.close();
      console.log(JSON.stringify(result));`,
      { cwd: folder, module: true, env: { LIVEKIT_URL: server.url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } },
    );
    expect(result).toEqual({ anew: true, same: true, created: ['one', 'two'], failed: ['INVALID_ARGUMENT', true, true, true] });
  });

  test('stops no bundler that comes upon it while it makes what browsers get', async () => {
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

  test.each(['copied', 'linked'])('works twice in one process, each for itself (addon %s)', async (addon) => {
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
    server.answer = ({ method, ...exchange }) => {
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

  test('modules may be reset between calls', async () => {
    const server = await serve();
    for (let round = 0; round < 3; round += 1) {
      jest.resetModules();
      const { createPlatform: create } = require('../index.js');
      expect((await create({ url: server.url, apiKey, apiSecret }).media.createRoom('room')).name).toBe('room');
    }
  });
});

describe('a worker thread', () => {
  /** Runs the script in a worker of its own; `entry`, `options` and `report` are there. */
  const startWorker = (script, server) =>
    new Worker(`const { parentPort: port, workerData: { entry, options } } = require('worker_threads'); ${script}`, {
      eval: true,
      workerData: { entry, options: { url: server.url, apiKey, apiSecret } },
      env: {},
    });

  test('makes calls as the main thread does', async () => {
    const server = await serve();
    const worker = startWorker(
      `const { createPlatform, MediaError } = require(entry);
      const { media } = createPlatform(options);
      (async () => {
        const room = await media.createRoom('room');
        const { token } = await media.generateToken('room', { identity: 'ann', name: 'Ann' });
        const error = await media.createRoom('').catch((caught) => caught);
        port.postMessage([room.name, token.startsWith('eyJ'), error instanceof MediaError && error.code]);
      })();`,
      server,
    );
    // Listened for at once: both events can come in one turn.
    const exited = once(worker, 'exit');
    const [message] = await once(worker, 'message');
    expect(message).toEqual(['room', true, 'INVALID_ARGUMENT']);
    await exited;
  });

  test('ends by itself when its calls are over', async () => {
    const server = await serve();
    const worker = startWorker(`require(entry).createPlatform(options).media.listRooms();`, server);
    const [code] = await once(worker, 'exit');
    expect(code).toBe(0);
    expect(server.requests).toHaveLength(1);
  });

  test('leaves no call behind when it is ended', async () => {
    const server = await serve(() => undefined);
    const worker = startWorker(
      `const { media } = require(entry).createPlatform(options);
      for (let i = 0; i < 64; i += 1) media.createRoom('room' + i, {}, { timeoutMs: 3_600_000 });`,
      server,
    );
    await server.received(64);
    await worker.terminate();
    // All places were taken; this call gets one only if they are free again.
    const { media } = createPlatform({ url: server.url, apiKey, apiSecret });
    const call = media.createRoom('room', {}, { timeoutMs: 20_000 }).catch(() => {});
    await server.received(65);
    await server.close();
    await call;
  });

  // In a process of its own, because a fault here ends the process.
  test('can be started and ended 200 times, also while calls are pending, and the process goes on', async () => {
    const answer = healthy();
    const server = await serve((exchange) => {
      if (exchange.room === 'never') return undefined;
      // Most often the worker is gone by then.
      if (exchange.room?.startsWith('late')) return setTimeout(answer, 20, exchange);
      return answer(exchange);
    });
    server.remember = false;
    const result = await resultOf(
      `const { Worker } = require('worker_threads');
      const { once } = require('events');
      const options = ${optionsFor(server)};
      const { media } = require(entry).createPlatform(options);
      const script = \`
        const { parentPort: port, workerData: { entry, options, round } } = require('worker_threads');
        const { media } = require(entry).createPlatform(options);
        const aborting = new AbortController();
        if (round % 2 === 1) {
          const { signal } = aborting;
          for (let call = 0; call < 4; call += 1) media.createRoom('late ' + round + ' ' + call, undefined, { signal }).catch(() => {});
          media.createRoom('late').catch(() => {});
          media.listParticipants('late').catch(() => {});
          media.createRoom('never').catch(() => {});
        }
        media.createRoom('room ' + round).then(({ name }) => port.postMessage(name), (error) => port.postMessage(String(error)));
        if (round % 8 === 3) setImmediate(() => aborting.abort());
      \`;
      (async () => {
        const wrong = [];
        for (let round = 0; round < 200; round += 1) {
          const worker = new Worker(script, { eval: true, workerData: { entry, options, round } });
          const ended = once(worker, 'exit');
          const [name] = await Promise.race([once(worker, 'message'), ended]);
          if (name !== 'room ' + round) wrong.push(String(name));
          if (round % 2 === 1) worker.terminate();
          await ended;
        }
        const { name } = await media.createRoom('afterwards');
        console.log(JSON.stringify({ wrong, name }));
      })();`,
    );
    expect(result).toEqual({ wrong: [], name: 'afterwards' });
  });

  test('that is ended takes nothing from the calls of others', async () => {
    const hold = held();
    const server = await serve(hold);
    const media = mediaAt(server.url);
    const worker = startWorker(`const { media } = require(entry).createPlatform(options); media.createRoom('shared'); media.listRooms(); port.postMessage('sent');`, server);
    await once(worker, 'message');
    await server.received(2);
    const mine = media.createRoom('shared');
    await worker.terminate();
    hold.releaseAll();
    server.answer = healthy();
    expect((await mine).name).toBe('shared');
    expect((await media.createRoom('shared')).name).toBe('shared');
  });
});

describe('the process', () => {
  test('ends by itself where a platform is idle, though connections are kept', async () => {
    const server = await serve();
    const { code, stdout, tookMs } = await runNode(
      `const { createPlatform, getPlatform } = require(entry);
      getPlatform();
      const { media } = createPlatform(${optionsFor(server)});
      (async () => {
        await Promise.all([media.createRoom('a'), media.createRoom('b'), media.listRooms()]);
        await media.listRooms({ signal: new AbortController().signal });
        await media.generateToken('room', { identity: 'ann', name: 'Ann' });
        console.log('idle');
      })();`,
    );
    expect([code, stdout.trim()]).toEqual([0, 'idle']);
    expect(tookMs).toBeLessThan(5000);
  });

  test.each([
    ['answered', 'result', (hold) => hold.releaseAll],
    ['reset', 'UNAVAILABLE', (hold) => () => hold.waiting.forEach(reset)],
  ])('stays until a pending call is %s', async (_, expected, release) => {
    const hold = held();
    const server = await serve(hold);
    const running = runNode(
      `const { media } = require(entry).createPlatform(${optionsFor(server)});
      media.listRooms().then(() => console.log('result'), ({ code }) => console.log(code));`,
    );
    await server.received(1);
    const answer = release(hold);
    setTimeout(() => {
      server.answer = expected === 'result' ? healthy() : reset;
      answer();
    }, 150);
    const { code, stdout } = await running;
    expect([code, stdout.trim()]).toEqual([0, expected]);
  });

  test('stays until a pending call is out of time, and no longer', async () => {
    const server = await serve(silence);
    const { code, stdout, tookMs } = await runNode(
      `const { media } = require(entry).createPlatform(${optionsFor(server, { timeoutMs: 300 })});
      media.listRooms().catch(({ code }) => console.log(code));`,
    );
    expect([code, stdout.trim()]).toEqual([0, 'TIMEOUT']);
    expect(tookMs).toBeLessThan(5000);
  });

  test('can end at any moment of a call, with its own code', async () => {
    const server = await serve(silence);
    const ends = await Promise.all(
      ['process.exit(7)', 'setImmediate(() => process.exit(7))', 'setTimeout(() => process.exit(7), 60)', 'process.exitCode = 7; setTimeout(() => process.reallyExit(7), 30)'].map((end) =>
        runNode(
          `const { media } = require(entry).createPlatform(${optionsFor(server)});
          for (let call = 0; call < 20; call += 1) { media.listRooms(); media.createRoom('room ' + call); media.createRoom('room'); }
          ${end};`,
        ),
      ),
    );
    for (const { code, signal, stderr } of ends) expect([code, signal, stderr]).toEqual([7, null, '']);
  });

  test('is told of a failure that nobody handles, once, and by the rejection only', async () => {
    const server = await serve(html(502));
    const { rejections, exceptions } = await resultOf(
      `const rejections = [], exceptions = [];
      process.on('unhandledRejection', ({ code }) => rejections.push(code));
      process.on('uncaughtException', (error) => exceptions.push(String(error)));
      const { media } = require(entry).createPlatform(${optionsFor(server)});
      media.createRoom('');
      media.createRoom('room');
      media.generateToken('room');
      media.listRooms({ signal: AbortSignal.abort() });
      process.on('beforeExit', () => { console.log(JSON.stringify({ rejections: rejections.sort(), exceptions })); process.exit(); });`,
    );
    expect(rejections).toEqual(['ABORTED', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'UNAVAILABLE']);
    expect(exceptions).toEqual([]);
  });

  test('keeps its memory while platforms come and go, and while tokens are made and calls fail', async () => {
    const server = await serve(html(502));
    server.remember = false;
    const { grownMiB } = await resultOf(
      `const { createPlatform } = require(entry);
      async function run(count) {
        for (let round = 0; round < count; round += 1) {
          const platform = createPlatform(${optionsFor(server)});
          await platform.media.generateToken('room', { identity: 'ann', name: 'Ann', metadata: 'x'.repeat(2000) });
          await platform.media.createRoom('', { maxParticipants: 2 }).catch(() => {});
          if (round % 20 === 0) await platform.media.createRoom('room ' + round, { metadata: 'x'.repeat(2000) }, { signal: new AbortController().signal }).catch(() => {});
          await platform.close();
        }
        global.gc();
      }
      (async () => {
        await run(3000);
        const before = process.memoryUsage.rss();
        await run(12000);
        console.log(JSON.stringify({ grownMiB: (process.memoryUsage.rss() - before) / 2 ** 20 }));
      })();`,
      { flags: ['--expose-gc'] },
    );
    expect(grownMiB).toBeLessThan(16);
  });
});

describe('a defect of the native core', () => {
  const calls = { ...roomCalls, generateToken: (media) => media.generateToken('room', ann) };
  const panic = () => {
    throw new Error('panicked');
  };
  const half = '{"name":';

  test.each([
    ['throws', calls, panic],
    ['throws what is no error', calls, () => { throw 'panicked'; }],
    ['rejects', roomCalls, () => Promise.reject(new Error('panicked'))],
    ['rejects with nothing', roomCalls, () => Promise.reject()],
    ['gives half of its answer', roomCalls, () => half],
    ['gives half of its answer later', roomCalls, async () => half],
  ])('that %s is INTERNAL for every call', async (_, affected, broken) => {
    for (const [operation, call] of Object.entries(affected)) {
      const { media } = loadOverCore((name) => (name === operation ? broken : undefined));
      expect(await failureOf(call(media))).toMatchObject({ code: 'INTERNAL', operation, retryable: false });
    }
  });

  test('that a call meets is its cause', async () => {
    const cause = new Error('panicked');
    const { media } = loadOverCore((name) => (name === 'listRooms' ? () => Promise.reject(cause) : undefined));
    expect((await failureOf(media.listRooms())).cause).toBe(cause);
  });

  test('in whatever function it is becomes a MediaError, also when a platform is made', async () => {
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
  /** The line of this file that a stack names first below the package's own. */
  function callerIn(error) {
    const line = error.stack.split('\n').find((each) => each.includes(__filename));
    return Number(/:(\d+):\d+\)?$/.exec(line)?.[1]);
  }

  /** The line on which this is called. */
  const here = () => Number(/:(\d+):\d+\)?$/.exec(new Error().stack.split('\n')[2])[1]);

  test('names the line that calls, where an argument is wrong', async () => {
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
    ['an answer', html(502)],
    ['a reset', reset],
  ])('names the line that awaits, and those that await it, after %s', async (_, answer) => {
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
      // `call` itself is a line of the tests' support, which stands above.
      expect(callerIn(error)).toBe(line);
      expect(error.stack).toContain('inner');
      expect(error.stack).toContain('outer');
    }
  });

  test('names the line of each caller who shares a creation', async () => {
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

  test('names the line that awaits after a time-out and after an abort', async () => {
    const { server, media } = await serveMedia(silence);
    async function slow() {
      await media.listRooms({ timeoutMs: 30 });
    }
    expect((await failureOf(slow())).stack).toContain('slow');
    const aborting = new AbortController();
    async function left() {
      await media.listRooms({ signal: aborting.signal });
    }
    const leaving = failureOf(left());
    await server.received(2);
    aborting.abort();
    expect((await leaving).stack).toContain('left');
  });

  test('is there for a wrong configuration', () => {
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

describe('the addon for Linux with glibc', () => {
  const gnu = addons().filter((name) => name.includes('linux') && name.includes('gnu'));

  test.each(gnu)('needs at most glibc 2.28: %s', (name) => {
    const versions = fs.readFileSync(path.join(root, name), 'latin1').match(/GLIBC_\d+\.\d+/g);
    expect(versions.length).toBeGreaterThan(0);
    const newest = versions.map((version) => version.slice('GLIBC_'.length).split('.').map(Number)).sort(([a, b], [c, d]) => c - a || d - b)[0];
    expect(newest[0]).toBe(2);
    expect(newest[1]).toBeLessThanOrEqual(28);
  });

  test('is there, where it can be tested', () => {
    if (process.platform === 'linux' && process.report.getReport().header.glibcVersionRuntime) expect(gnu.length).toBeGreaterThan(0);
  });

  test.each(gnu)('is no larger than 14 MB: %s', (name) => {
    expect(fs.statSync(path.join(root, name)).size).toBeLessThan(14_000_000);
  });
});
