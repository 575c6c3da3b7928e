'use strict';

// The end of the embedded engine: by close(), and with its process.

require('./support/environment.js');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { createPlatform } = require('../index.js');
const { entry, resultOf, root, runNode } = require('./support/child.js');
const { calls, freePort, httpOf, occupy, openEmbedded, portOf } = require('./support/embedded.js');
const { cleanEnv } = require('./support/environment.js');
const { failureOf } = require('./support/failure.js');
const { cleanUp } = require('./support/serve.js');
const { listening } = require('./support/sockets.js');

/** An open connection to the engine, on which `text` has been sent. */
async function connect(url, text) {
  const socket = net.connect(portOf(url), '127.0.0.1');
  cleanUp(() => socket.destroy());
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  const ended = new Promise((resolve) => socket.once('close', resolve));
  if (text !== undefined) await new Promise((resolve) => socket.write(text, resolve));
  return { socket, ended };
}

describe('close', () => {
  test('frees the port before it resolves', async () => {
    for (let round = 0; round < 20; round += 1) {
      const platform = openEmbedded();
      const port = portOf(await platform.media.mediaUrl());
      await platform.close();
      const { free } = await occupy(port);
      await free();
    }
  });

  test('allows the next platform to use the same port', async () => {
    const port = await freePort();
    for (let round = 0; round < 5; round += 1) {
      const platform = openEmbedded({ port });
      expect(await platform.media.listRooms()).toEqual([]);
      await platform.media.createRoom('room');
      await platform.close();
    }
  });

  test('can be called twice, and resolves with undefined', async () => {
    const platform = openEmbedded();
    await platform.media.createRoom('room');
    expect(await platform.close()).toBeUndefined();
    expect(await platform.close()).toBeUndefined();
    expect(await platform[Symbol.asyncDispose]()).toBeUndefined();
  });

  test('can be called concurrently, and each call resolves after the port is free', async () => {
    for (let round = 0; round < 50; round += 1) {
      const platform = openEmbedded();
      const port = portOf(await platform.media.mediaUrl());
      const first = platform.close();
      await platform.close();
      const { free } = await occupy(port);
      await first;
      await free();
    }
  });

  test('before the first call: the engine does not start afterwards', async () => {
    const before = listening();
    const platform = openEmbedded();
    await platform.close();
    expect((await failureOf(platform.media.createRoom('room'))).code).toBe('UNAVAILABLE');
    expect(listening()).toEqual(before);
  });

  test.each(Object.entries(calls))('later calls are UNAVAILABLE: %s', async (operation, call) => {
    const platform = openEmbedded();
    await Promise.all(Object.values(calls).map((each) => each(platform.media)));
    const { media } = platform;
    await platform.close();
    for (let round = 0; round < 2; round += 1) expect(await failureOf(call(media))).toMatchObject({ code: 'UNAVAILABLE', operation });
  });

  test('earlier calls succeed', async () => {
    const platform = openEmbedded();
    const begun = Array.from({ length: 50 }, (_, index) => platform.media.createRoom(`room ${index}`));
    const closed = platform.close();
    expect((await Promise.all(begun)).map(({ name }) => name)).toContain('room 49');
    await closed;
  });

  test('does not close other engines', async () => {
    const [one, two] = [openEmbedded(), openEmbedded()];
    await Promise.all([one, two].map(({ media }) => media.createRoom('room')));
    await one.close();
    expect(await two.media.listRooms()).toHaveLength(1);
    expect((await fetch(httpOf(await two.media.mediaUrl()))).status).toBe(200);
  });

  test.each([
    ['is idle', undefined],
    ['is kept alive after a response', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['has sent half of its headers', 'POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHos'],
    ['has sent half of its body', 'POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'],
  ])('closes a connection that %s', async (_, text) => {
    const platform = openEmbedded();
    const { ended } = await connect(await platform.media.mediaUrl(), text);
    const started = performance.now();
    await platform.close();
    await ended;
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test('is called by Symbol.asyncDispose', async () => {
    const platform = createPlatform({ provider: 'embedded' });
    const port = portOf(await platform.media.mediaUrl());
    await platform[Symbol.asyncDispose]();
    await occupy(port);
    expect((await failureOf(platform.media.listRooms())).code).toBe('UNAVAILABLE');
  });
});

describe('100 engines', () => {
  const script = (body) => `
    const { descriptors, listening, threads } = require(${JSON.stringify(path.join(__dirname, 'support/sockets.js'))});
    const { createPlatform } = require(entry);
    const use = async (platform) => {
      const { media } = platform;
      await media.createRoom('room', { metadata: 'x'.repeat(1000) });
      const { url, token } = await media.generateToken('room', { identity: 'ann', name: '' });
      // Without an agent, because a connection that Node keeps alive would be counted.
      const { status } = await new Promise((resolve, reject) => require('http').get(url.replace('ws', 'http') + '/rtc/validate?access_token=' + token, { agent: false }, (answer) => answer.resume().on('end', () => resolve({ status: answer.statusCode }))).on('error', reject));
      if (status !== 200) throw new Error('validate: ' + status);
    };
    const held = () => { global.gc(); return { threads: threads(), descriptors: descriptors(), listening: listening().length }; };
    const settle = async (wanted) => {
      // Node frees closed sockets in a later turn.
      for (let turn = 0; turn < 100 && JSON.stringify(held()) !== JSON.stringify(wanted); turn += 1) await new Promise((resolve) => setTimeout(resolve, 10));
      return held();
    };
    (async () => { ${body} })();`;

  test('one after another leak no socket, thread or memory', async () => {
    const result = await resultOf(
      script(
        `const rounds = async (count) => {
          for (let round = 0; round < count; round += 1) {
            const platform = createPlatform({ provider: 'embedded' });
            await use(platform);
            await platform.close();
          }
        };
        await rounds(30);
        const before = await settle();
        const rss = process.memoryUsage.rss();
        await rounds(100);
        const after = await settle(before);
        console.log(JSON.stringify({ before, after, grownMiB: (process.memoryUsage.rss() - rss) / 2 ** 20 }));`,
      ),
      { flags: ['--expose-gc'] },
    );
    expect(result.after).toEqual(result.before);
    expect(result.after.listening).toBe(0);
    expect(result.grownMiB).toBeLessThan(12);
  });

  test('at once leak no socket or thread', async () => {
    const result = await resultOf(
      script(
        `const round = async () => {
          const platforms = Array.from({ length: 100 }, () => createPlatform({ provider: 'embedded' }));
          await Promise.all(platforms.map(use));
          const maximum = listening().length;
          await Promise.all(platforms.map((platform) => platform.close()));
          return maximum;
        };
        await round();
        const before = await settle();
        const maximum = await round();
        const after = await settle(before);
        console.log(JSON.stringify({ before, after, maximum }));`,
      ),
      { flags: ['--expose-gc'] },
    );
    expect(result.maximum).toBe(100);
    expect(result.after).toEqual(result.before);
    expect(result.after.listening).toBe(0);
  });
});

describe('a process with a running engine', () => {
  const start = `const { getPlatform, createPlatform } = require(entry);
    const run = async () => {
      for (const { media } of [getPlatform({ provider: 'embedded', host: '127.0.80.1', port: 0 }), createPlatform({ provider: 'embedded' })]) {
        await media.createRoom('room', { emptyTimeoutSecs: 600 });
        await media.generateToken('room', { identity: 'ann', name: '' });
      }
      console.log('runs');
    };`;

  test('exits by itself', async () => {
    const { code, signal, stdout, stderr, tookMs } = await runNode(`${start} run();`);
    expect({ code, signal, stdout, stderr }).toEqual({ code: 0, signal: null, stdout: 'runs\n', stderr: '' });
    expect(tookMs).toBeLessThan(5000);
  });

  test('exits by itself while a client is connected', async () => {
    const { code, stdout, stderr } = await runNode(
      `${start} run().then(async () => {
        const url = await getPlatform().media.mediaUrl();
        require('net').connect(new URL(url).port, '127.0.80.1', function () { this.unref(); });
        await fetch(url.replace('ws', 'http')).then((answer) => answer.text());
      });`,
    );
    expect([code, stdout, stderr]).toEqual([0, 'runs\n', '']);
  });

  test.each([
    ['process.exit', 'process.exit(7)', 7],
    ['process.exit during requests', `for (let i = 0; i < 50; i += 1) fetch(url).catch(() => {}); setTimeout(() => process.exit(7), 5)`, 7],
    ['process.exit during close()', `own.media.mediaUrl().then(() => { own.close(); process.exit(7); })`, 7],
    ['process.reallyExit', 'process.reallyExit(7)', 7],
  ])('exits with its own code at %s', async (_, end, expected) => {
    const { code, signal, stderr } = await runNode(
      `${start} run().then(async () => {
        const url = (await getPlatform().media.mediaUrl()).replace('ws', 'http');
        const own = createPlatform({ provider: 'embedded' });
        ${end};
      });`,
    );
    expect({ code, signal, stderr }).toEqual({ code: expected, signal: null, stderr: '' });
  });

  test('exits with 1 at an uncaught error, and prints only that error', async () => {
    const { code, stderr } = await runNode(`${start} run().then(() => setImmediate(() => { throw new Error('of the app'); }));`);
    expect(code).toBe(1);
    expect(stderr).toContain('of the app');
    expect(stderr).not.toMatch(/panick|maravilla/i);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'])('is ended by %s, and its port is free', async (signal) => {
    const child = spawn(
      process.execPath,
      ['-e', `const entry = ${JSON.stringify(entry)}; ${start} run().then(async () => { console.log(await getPlatform().media.mediaUrl()); setInterval(() => {}, 1000); });`],
      { cwd: root, env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] },
    );
    cleanUp(() => child.kill('SIGKILL'));
    let [stdout, stderr] = ['', ''];
    child.stderr.on('data', (text) => (stderr += text));
    while (!/ws:.*\n/.test(stdout)) stdout += (await once(child.stdout, 'data'))[0];
    const exited = once(child, 'close');
    child.kill(signal);
    expect(await exited).toEqual([null, signal]);
    expect(stderr).toBe('');
    await occupy(portOf(/ws:.*/.exec(stdout)[0]), '127.0.80.1');
  });

  test('can terminate worker threads at any moment, and their engines end with them', async () => {
    const { wrong, rooms, ports } = await resultOf(
      `const { Worker } = require('worker_threads');
      const { listening } = require(${JSON.stringify(path.join(__dirname, 'support/sockets.js'))});
      const { once } = require('events');
      const { media } = require(entry).getPlatform({ provider: 'embedded', host: '127.0.80.2' });
      const script = \`
        const { parentPort, workerData: { entry, round } } = require('worker_threads');
        const { createPlatform, getPlatform } = require(entry);
        const own = createPlatform({ provider: 'embedded' });
        const { media } = getPlatform({ provider: 'embedded', host: '127.0.80.2' });
        (async () => {
          await own.media.createRoom('own');
          const { name } = await media.createRoom('room ' + round);
          if (round % 3 === 0) own.close();
          parentPort.postMessage(name);
          if (round % 3 === 1) await own.close();
          if (round % 3 === 2) setInterval(() => media.listRooms(), 0);
        })();
      \`;
      (async () => {
        const wrong = [];
        for (let round = 0; round < 60; round += 1) {
          const worker = new Worker(script, { eval: true, workerData: { entry, round } });
          const exited = once(worker, 'exit');
          const [name] = await once(worker, 'message');
          if (name !== 'room ' + round) wrong.push(name);
          if (round % 2 === 0 || round % 3 === 2) worker.terminate();
          await exited;
        }
        // Engines that a worker did not close end with it, each on its own thread.
        while (listening().length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
        console.log(JSON.stringify({ wrong, rooms: (await media.listRooms()).length, ports: listening().length }));
      })();`,
    );
    expect({ wrong, rooms, ports }).toEqual({ wrong: [], rooms: 60, ports: 1 });
  });
});
