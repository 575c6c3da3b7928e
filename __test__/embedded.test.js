'use strict';

// The embedded engine: when it starts, on which port, and which platforms share it.

require('./support/environment.js');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { inspect } = require('node:util');
const { Worker } = require('node:worker_threads');
const { createPlatform } = require('../index.js');
const { entry, resultOf } = require('./support/child.js');
const { ann, apiKey, apiSecret, calls, freePort, httpOf, occupy, openEmbedded, portOf, startingCalls, validate } = require('./support/embedded.js');
const { failureIn, failureOf } = require('./support/failure.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');
const { cleanUp } = require('./support/serve.js');
const { listening, threads } = require('./support/sockets.js');

const sockets = path.join(__dirname, 'support/sockets.js');

/**
 * The output of a script in a child process, which can use `platform`, `listening`, `take` (listens on a port) and `print`. Tests of one
 * port use different hosts of 127/8.
 */
const outputOf = (body, options) =>
  resultOf(
    `const platform = require(entry);
    const { listening, threads } = require(${JSON.stringify(sockets)});
    const { once } = require('events');
    const take = async (port, host) => { const server = require('net').createServer().listen(port, host); await once(server, 'listening'); return server; };
    const print = (value) => console.log(JSON.stringify(value));
    const portOf = (url) => Number(new URL(url).port);
    (async () => { ${body} })();`,
    options,
  );

describe('the engine', () => {
  test('does not start at the import, in getPlatform and in createPlatform', async () => {
    const result = await outputOf(
      `const before = threads();
      const shared = platform.getPlatform({ provider: 'embedded' });
      const own = platform.createPlatform({ provider: 'embedded', port: 0 });
      const { createRoom } = shared.media;
      require('util').inspect([shared, own], { showHidden: true, depth: 9 });
      await new Promise((resolve) => setTimeout(resolve, 50));
      print({ listening: listening(), threads: threads() - before, kept: process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap') });`,
    );
    expect(result).toEqual({ listening: [], threads: 0, kept: [] });
  });

  test.each(Object.entries(startingCalls))('starts at the first call: %s', async (_, call) => {
    const before = listening();
    const { media } = openEmbedded();
    expect(listening()).toEqual(before);
    await call(media);
    const [port, ...others] = listening().filter((each) => !before.includes(each));
    expect(others).toEqual([]);
    expect(portOf(await media.mediaUrl())).toBe(port);
  });

  test('starts once for concurrent first calls', async () => {
    const before = listening();
    const { media } = openEmbedded();
    await Promise.all([...Object.values(calls), ...Object.values(calls)].map((call) => call(media)));
    expect(listening()).toHaveLength(before.length + 1);
  });

  test('does not start for invalid arguments', async () => {
    const before = listening();
    const { media } = openEmbedded();
    for (const call of [media.createRoom(''), media.createRoom(1), media.generateToken('room', { identity: '' }), media.deleteRoom('a'.repeat(257))]) {
      expect((await failureOf(call)).code).toBe('INVALID_ARGUMENT');
    }
    expect(listening()).toEqual(before);
  });

  test('serves HTTP after its start', async () => {
    const { media } = openEmbedded();
    const response = await fetch(httpOf(await media.mediaUrl()));
    expect([response.status, await response.text()]).toEqual([200, 'OK']);
  });
});

describe('the port', () => {
  const first = async (host) => outputOf(`print(await platform.getPlatform({ provider: 'embedded', host: '${host}' }).media.mediaUrl());`);

  test('of the shared engine is 7880', async () => {
    expect(await first('127.0.78.1')).toBe('ws://127.0.78.1:7880');
  });

  test('of the shared engine is the next free one if 7880 is in use', async () => {
    const host = '127.0.78.2';
    await occupy(7880, host);
    expect(await first(host)).toBe(`ws://${host}:7881`);
    await occupy(7881, host);
    await occupy(7882, host);
    expect(await first(host)).toBe(`ws://${host}:7883`);
  });

  test('of two processes differs', async () => {
    const host = '127.0.78.3';
    const script = `const { media } = platform.getPlatform({ provider: 'embedded', host: '${host}' });
      const url = await media.mediaUrl();
      const { execFileSync } = require('child_process');
      const other = execFileSync(process.execPath, ['-e', 'require(process.argv[1]).getPlatform({ provider: "embedded", host: "${host}" }).media.mediaUrl().then(console.log)', entry], { encoding: 'utf8' });
      print([portOf(url), portOf(other)]);`;
    expect(await outputOf(script)).toEqual([7880, 7881]);
  });

  /** Codes of the warnings of two platforms on the shared engine, after its request to the server on port 7880. */
  const warnings = (host) =>
    outputOf(
      `const codes = [];
      process.on('warning', ({ code }) => codes.push(code));
      for (let i = 0; i < 2; i += 1) {
        const { media } = platform.getPlatform({ provider: 'embedded', host: '${host}' });
        await media.createRoom('room');
        await fetch('http://${host}:7880', { method: 'POST' });
        await new Promise(setImmediate);
        platform.clearPlatformCache();
      }
      print(codes);`,
    );

  test('of the shared engine: one warning if an engine of another process has 7880', async () => {
    const host = '127.0.78.6';
    await openEmbedded({ host, port: 7880 }).media.mediaUrl();
    expect(await warnings(host)).toEqual(['MARAVILLA_SEVERAL_ENGINES']);
  });

  test('of the shared engine: no warning if another server has 7880', async () => {
    const host = '127.0.78.7';
    const methods = [];
    const server = http.createServer((request, response) => {
      methods.push(request.method);
      response.end();
    });
    server.listen(7880, host);
    cleanUp(() => server.close());
    await once(server, 'listening');
    expect(await warnings(host)).toEqual([]);
    expect(methods).toContain('GET');
  });

  test('of a separate engine is a free one', async () => {
    const host = '127.0.78.4';
    const urls = await Promise.all([1, 2, 3].map(() => openEmbedded({ host }).media.mediaUrl()));
    const ports = urls.map(portOf);
    expect(new Set(ports).size).toBe(3);
    for (const port of ports) expect(port).toBeGreaterThan(8000);
  });

  test('0 is a free one, also for the shared engine', async () => {
    expect(portOf(await openEmbedded({ port: 0 }).media.mediaUrl())).toBeGreaterThan(8000);
    const port = await outputOf(`print(portOf(await platform.getPlatform({ provider: 'embedded', host: '127.0.78.5', port: 0 }).media.mediaUrl()));`);
    expect(port).toBeGreaterThan(8000);
  });

  test('can be given', async () => {
    const port = await freePort();
    expect(await openEmbedded({ port }).media.mediaUrl()).toBe(`ws://127.0.0.1:${port}`);
  });

  test.each(Object.entries(startingCalls))('that is in use is INVALID_CONFIG: %s', async (operation, call) => {
    const { port } = await occupy();
    const { media } = openEmbedded({ port, apiKey, apiSecret });
    const error = await failureOf(call(media));
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation, retryable: false });
    expect(error.message).toContain(String(port));
    expect(inspect(error, { showHidden: true, depth: Infinity })).not.toContain(apiSecret);
  });

  test('that was in use is tried again by the next call', async () => {
    const { port, free } = await occupy();
    const { media } = openEmbedded({ port });
    expect((await failureOf(media.createRoom('room'))).code).toBe('INVALID_CONFIG');
    await free();
    expect((await media.createRoom('room')).name).toBe('room');
    expect(portOf(await media.mediaUrl())).toBe(port);
  });

  test('of another engine of this process is in use', async () => {
    const port = portOf(await openEmbedded().media.mediaUrl());
    expect((await failureOf(openEmbedded({ port }).media.listRooms())).code).toBe('INVALID_CONFIG');
  });

  test('on a host that is not of this machine is INVALID_CONFIG', async () => {
    const error = await failureOf(openEmbedded({ host: '192.0.2.250' }).media.listRooms());
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', operation: 'listRooms' });
    expect(error.message).toContain('192.0.2.250');
  });
});

describe('getPlatform shares one engine', () => {
  const embedded = (host, more = '') => `{ provider: 'embedded', host: '${host}'${more} }`;

  test('with every later platform of the process, whatever its prefix', async () => {
    const result = await outputOf(
      `const options = ${embedded('127.0.79.1')};
      const { media } = platform.getPlatform(options);
      await media.createRoom('kept');
      platform.clearPlatformCache();
      const again = platform.getPlatform(options).media;
      platform.clearPlatformCache();
      const tenant = platform.getPlatform({ ...options, roomPrefix: 'ke:' }).media;
      await tenant.createRoom('room');
      print({ same: again === media, urls: new Set([await media.mediaUrl(), await again.mediaUrl(), await tenant.mediaUrl()]).size, rooms: (await again.listRooms()).map(({ name }) => name), tenant: (await tenant.listRooms()).map(({ name }) => name), listening: listening().length });`,
    );
    expect(result).toEqual({ same: false, urls: 1, rooms: ['ke:room', 'kept'], tenant: ['room'], listening: 1 });
  });

  test('with the package loaded again', async () => {
    const result = await outputOf(
      `const options = ${embedded('127.0.79.2')};
      const { media } = platform.getPlatform(options);
      await media.createRoom('kept');
      const { token, url } = await media.generateToken('kept', { identity: 'ann', name: '' });
      for (const file of Object.keys(require.cache)) delete require.cache[file];
      delete globalThis[Symbol.for('@maravilla-labs/platform')];
      const reloaded = require(entry);
      const again = reloaded.getPlatform(options).media;
      const opened = await fetch(url.replace('ws', 'http') + '/rtc/validate?access_token=' + (await again.generateToken('kept', { identity: 'bob', name: '' })).token);
      print({ reloaded: reloaded !== platform, rooms: (await again.listRooms()).length, url: (await again.mediaUrl()) === url, status: opened.status });`,
    );
    expect(result).toEqual({ reloaded: true, rooms: 1, url: true, status: 200 });
  });

  test('with a copy of the package that links the same addon file, and not with another file', async () => {
    const [linked, copied] = ['linked', 'copied'].map((addon) => installCopy(temporaryFolder(), addon));
    const result = await outputOf(
      `const options = ${embedded('127.0.79.3')};
      await platform.getPlatform(options).media.createRoom('room');
      const rooms = [];
      for (const file of ${JSON.stringify([linked, copied])}) {
        platform.clearPlatformCache();
        rooms.push((await require(file).getPlatform(options).media.listRooms()).length);
      }
      print(rooms);`,
    );
    expect(result).toEqual([1, 0]);
  });

  test('with all threads, and outlives the thread that started it', async () => {
    const result = await outputOf(
      `const { Worker } = require('worker_threads');
      const options = ${embedded('127.0.79.4')};
      const run = async (name) => {
        const worker = new Worker(\`
          const { parentPort, workerData: { entry, options, name } } = require('worker_threads');
          const { media } = require(entry).getPlatform(options);
          media.createRoom(name).then(async () => parentPort.postMessage({ url: await media.mediaUrl(), rooms: (await media.listRooms()).length, ...(await media.generateToken(name, { identity: 'ann', name: '' })) }));
        \`, { eval: true, workerData: { entry, options, name } });
        const exited = once(worker, 'exit');
        const [message] = await once(worker, 'message');
        const [code] = await exited;
        return { ...message, code };
      };
      const first = await run('first');
      const second = await run('second');
      const { media } = platform.getPlatform(options);
      const rooms = (await media.listRooms()).map(({ name }) => name);
      const { status } = await fetch(first.url.replace('ws', 'http') + '/rtc/validate?access_token=' + first.token);
      print({ codes: [first.code, second.code], seen: [first.rooms, second.rooms], urls: new Set([first.url, second.url, await media.mediaUrl()]).size, rooms, status, listening: listening().length });`,
    );
    expect(result).toEqual({ codes: [0, 0], seen: [1, 2], urls: 1, rooms: ['first', 'second'], status: 200, listening: 1 });
  });

  test('and rejects another host, port, media port or key while it runs', async () => {
    const result = await outputOf(
      `const options = { provider: 'embedded', host: '127.0.79.5', port: 0, apiKey: 'key', apiSecret: 'the-secret-itself' };
      const url = await platform.getPlatform(options).media.mediaUrl();
      const port = portOf(url);
      const codes = {};
      for (const [name, change] of Object.entries({ none: {}, same: { port }, host: { host: '127.0.79.6' }, port: { port: port === 1024 ? 1025 : port - 1 }, rtcPort: { rtcPort: 1 }, rtcAddress: { rtcAddress: '192.0.2.7' }, webhookUrls: { webhookUrls: 'https://app.example' }, key: { apiKey: 'other' }, secret: { apiSecret: 'another-secret' } })) {
        platform.clearPlatformCache();
        const { media } = platform.getPlatform({ ...options, ...change });
        const outcomes = await Promise.all([media.listRooms(), media.mediaUrl(), media.generateToken('room', { identity: 'ann', name: '' })].map((call) => call.then(() => 'fine', ({ code, message }) => (/itself|another-secret/.test(message) ? message : code))));
        codes[name] = [...new Set(outcomes)].join();
      }
      platform.clearPlatformCache();
      codes.absent = (await platform.getPlatform({ provider: 'embedded', host: options.host }).media.mediaUrl()) === url;
      print(codes);`,
    );
    const rejected = 'INVALID_CONFIG';
    expect(result).toEqual({ none: 'fine', same: 'fine', host: rejected, port: rejected, rtcPort: rejected, rtcAddress: rejected, webhookUrls: rejected, key: rejected, secret: rejected, absent: true });
  });
});

describe('createPlatform starts a separate engine', () => {
  test('which returns an existing room unchanged, whatever the limit', async () => {
    const { media } = openEmbedded();
    const limited = { name: 'limited', numParticipants: 0, maxParticipants: 3, createdAt: expect.any(Number), active: true };
    const created = await media.createRoom('limited', { maxParticipants: 3 });
    expect(created).toEqual(limited);
    for (const maxParticipants of [3, 4, 0, -0, null, undefined]) {
      expect(await media.createRoom('limited', { maxParticipants })).toEqual(created);
    }
    for (const maxParticipants of [0, -0, null, undefined]) {
      expect(await media.createRoom('unlimited', { maxParticipants })).toMatchObject({ numParticipants: 0, maxParticipants: 0 });
    }
  });

  test('with its own rooms', async () => {
    const [one, two] = [openEmbedded().media, openEmbedded().media];
    await one.createRoom('room', { maxParticipants: 1 });
    await two.createRoom('room', { maxParticipants: 2 });
    await one.createRoom('more');
    expect(await one.listRooms()).toMatchObject([{ name: 'more' }, { name: 'room', maxParticipants: 1 }]);
    expect(await two.listRooms()).toMatchObject([{ name: 'room', maxParticipants: 2 }]);
    await two.deleteRoom('more');
    await two.deleteRoom('room');
    expect(await one.listRooms()).toHaveLength(2);
  });

  test('whose tokens other engines reject, unless they have the same key', async () => {
    const [one, two] = [openEmbedded().media, openEmbedded().media];
    const [mine, theirs] = [await one.generateToken('room', ann), await two.generateToken('room', ann)];
    expect(await validate(mine.url, mine.token)).toBe(200);
    expect(await validate(mine.url, theirs.token)).toBe(401);
    const pair = { apiKey, apiSecret };
    const [three, four] = [openEmbedded(pair).media, openEmbedded(pair).media];
    expect(await validate(await four.mediaUrl(), (await three.generateToken('room', ann)).token)).toBe(200);
  });

  test('in worker threads, where it does not end with other threads', async () => {
    const script = `const { parentPort, workerData: entry } = require('worker_threads');
      const { media } = require(entry).createPlatform({ provider: 'embedded' });
      const keep = setInterval(() => {}, 1000);
      media.createRoom('room').then(async () => parentPort.postMessage(await media.mediaUrl()));`;
    const workers = [1, 2].map(() => new Worker(script, { eval: true, workerData: entry }));
    cleanUp(() => Promise.all(workers.map((worker) => worker.terminate())));
    const urls = (await Promise.all(workers.map((worker) => once(worker, 'message')))).flat();
    expect(new Set(urls).size).toBe(2);
    await workers[0].terminate();
    expect((await fetch(httpOf(urls[1]))).status).toBe(200);
  });

  test('and none for invalid options', () => {
    const before = [listening(), threads()];
    expect(failureIn(() => createPlatform({ provider: 'embedded', apiKey })).code).toBe('INVALID_CONFIG');
    expect([listening(), threads()]).toEqual(before);
  });
});
