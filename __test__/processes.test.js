'use strict';

// Calls in worker threads and child processes: exits, terminations and memory.

require('./support/environment.js');
const { once } = require('node:events');
const { Worker } = require('node:worker_threads');
const { createPlatform } = require('../index.js');
const { entry, resultOf, runNode } = require('./support/child.js');
const { healthy, held, html, reset, silence } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt } = require('./support/media.js');
const { serve } = require('./support/serve.js');

const optionsFor = (server, more = {}) => JSON.stringify({ url: server.url, apiKey, apiSecret, ...more });

describe('a worker thread', () => {
  /** Starts a worker with that script, which can use `entry`, `options` and `port`. */
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
    // Listen for both at once: they can be emitted in one turn of the event loop.
    const exited = once(worker, 'exit');
    const [message] = await once(worker, 'message');
    expect(message).toEqual(['room', true, 'INVALID_ARGUMENT']);
    await exited;
  });

  test('exits when its calls are settled', async () => {
    const server = await serve();
    const worker = startWorker(`require(entry).createPlatform(options).media.listRooms();`, server);
    const [code] = await once(worker, 'exit');
    expect(code).toBe(0);
    expect(server.requests).toHaveLength(1);
  });

  test('releases the permits of its calls when it is terminated', async () => {
    const server = await serve(() => undefined);
    const worker = startWorker(
      `const { media } = require(entry).createPlatform(options);
      for (let i = 0; i < 64; i += 1) media.createRoom('room' + i, {}, { timeoutMs: 3_600_000 });`,
      server,
    );
    await server.received(64);
    await worker.terminate();
    // The worker's calls held all permits, so this call is sent only after they are released.
    const { media } = createPlatform({ url: server.url, apiKey, apiSecret });
    const call = media.createRoom('room', {}, { timeoutMs: 20_000 }).catch(() => {});
    await server.received(65);
    await server.close();
    await call;
  });

  // In a child process, because a defect would end the process.
  test('can be terminated 200 times with pending calls, and the process continues', async () => {
    const respond = healthy();
    const server = await serve((exchange) => {
      if (exchange.room === 'never') return undefined;
      // By then the worker has usually been terminated.
      if (exchange.room?.startsWith('late')) return setTimeout(respond, 20, exchange);
      return respond(exchange);
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

  test('that is terminated does not fail calls of other threads', async () => {
    const hold = held();
    const server = await serve(hold);
    const media = mediaAt(server.url);
    const worker = startWorker(`const { media } = require(entry).createPlatform(options); media.createRoom('shared'); media.listRooms(); port.postMessage('sent');`, server);
    await once(worker, 'message');
    await server.received(2);
    const mine = media.createRoom('shared');
    await worker.terminate();
    hold.releaseAll();
    server.respond = healthy();
    expect((await mine).name).toBe('shared');
    expect((await media.createRoom('shared')).name).toBe('shared');
  });
});

describe('the process', () => {
  test('exits while a platform is idle and connections are kept alive', async () => {
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
    ['successful', 'result', (hold) => hold.releaseAll],
    ['reset', 'UNAVAILABLE', (hold) => () => hold.waiting.forEach(reset)],
  ])('does not exit before a pending call is %s', async (_, expected, release) => {
    const hold = held();
    const server = await serve(hold);
    const running = runNode(
      `const { media } = require(entry).createPlatform(${optionsFor(server)});
      media.listRooms().then(() => console.log('result'), ({ code }) => console.log(code));`,
    );
    await server.received(1);
    const answer = release(hold);
    setTimeout(() => {
      server.respond = expected === 'result' ? healthy() : reset;
      answer();
    }, 150);
    const { code, stdout } = await running;
    expect([code, stdout.trim()]).toEqual([0, expected]);
  });

  test('exits after a pending call has timed out', async () => {
    const server = await serve(silence);
    const { code, stdout, tookMs } = await runNode(
      `const { media } = require(entry).createPlatform(${optionsFor(server, { timeoutMs: 300 })});
      media.listRooms().catch(({ code }) => console.log(code));`,
    );
    expect([code, stdout.trim()]).toEqual([0, 'TIMEOUT']);
    expect(tookMs).toBeLessThan(5000);
  });

  test('can exit with its own code at any moment of a call', async () => {
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

  test('emits one unhandledRejection per failure, and no uncaughtException', async () => {
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

  test('does not leak memory of platforms, tokens and failed calls', async () => {
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
