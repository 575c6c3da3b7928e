'use strict';

// Concurrent calls: kept-alive connections, the limit of requests in flight, and shared createRoom requests.

require('./support/environment.js');
const { once } = require('node:events');
const { resultOf } = require('./support/child.js');
const { failureOf } = require('./support/faults.js');
const { healthy, held, html, inTurn, silence, twirp } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { serve, serveMedia } = require('./support/serve.js');

describe('kept-alive connections', () => {
  test('are reused: sequential calls share one', async () => {
    const { server, media } = await serveMedia();
    for (const call of [...Object.values(roomCalls), ...Object.values(roomCalls)]) await call(media);
    await mediaAt(server.url).listRooms();
    expect(server.requests).toHaveLength(2 * Object.keys(roomCalls).length + 1);
    expect(server.connections).toBe(1);
  });

  test('are reused after an error response and after an invalid response', async () => {
    const { server, media } = await serveMedia(inTurn(twirp(400, 'invalid_argument'), html(502), healthy()));
    await failureOf(media.listRooms());
    await failureOf(media.listRooms());
    await media.listRooms();
    expect(server.connections).toBe(1);
  });

  // The client runs in a process of its own, so that its memory is measured without the server's. The delay before the close varies, so
  // that some closes cross the next request.
  test.each([
    ['after each response', 1],
    ['after five responses', 5],
  ])('that the server closes %s fail none of 10,000 calls, and leak no memory', async (_, maxServed) => {
    const respond = healthy();
    let closed = 0;
    const server = await serve((exchange) => {
      respond(exchange);
      if (exchange.socket.served < maxServed) return;
      const until = performance.now() + (closed++ % 4) * 0.03;
      while (performance.now() < until);
      exchange.socket.end();
    });
    server.remember = false;
    let arrived = 0;
    server.on('request', () => (arrived += 1));
    const { failed, grownMiB } = await resultOf(
      `const { media } = require(entry).createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret })});
      const failed = {};
      async function run(count) {
        let left = count;
        await Promise.all(Array.from({ length: 16 }, async () => {
          while (left-- > 0) await media.listRooms().catch(({ code, message }) => (failed[code + message] = (failed[code + message] ?? 0) + 1));
        }));
        global.gc();
      }
      (async () => {
        await run(2000);
        const before = process.memoryUsage.rss();
        await run(8000);
        console.log(JSON.stringify({ failed, grownMiB: (process.memoryUsage.rss() - before) / 2 ** 20 }));
      })();`,
      { flags: ['--expose-gc'] },
    );
    expect(failed).toEqual({});
    expect(arrived).toBeGreaterThanOrEqual(10_000);
    expect(server.connections).toBeGreaterThan(1000);
    expect(grownMiB).toBeLessThan(16);
  });
});

describe('concurrent calls', () => {
  test('are limited to 64 in flight, and the others follow in order', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const calls = Array.from({ length: 80 }, (_, i) => media.listParticipants(`room ${i}`));
    await server.received(64);
    expect(server.requests.map(({ room }) => room).sort()).toEqual(Array.from({ length: 64 }, (_, i) => `room ${i}`).sort());
    for (let next = 64; next < 80; next += 1) {
      const arrived = server.received(next + 1);
      hold.releaseOne();
      expect((await arrived).room).toBe(`room ${next}`);
      expect(hold.waiting).toHaveLength(64);
    }
    hold.releaseAll();
    await Promise.all(calls);
    expect(server.requests).toHaveLength(80);
    expect(server.connections).toBeLessThanOrEqual(64);
  });

  test('release their permits when they are aborted', async () => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const first = Array.from({ length: 64 }, () => failureOf(media.listRooms({ signal: aborting.signal })));
    const next = media.listParticipants('next');
    await server.received(64);
    server.respond = healthy();
    aborting.abort();
    expect(await next).toEqual([]);
    for (const error of await Promise.all(first)) expect(error.code).toBe('ABORTED');
  });
});

describe('concurrent createRoom calls of one room', () => {
  test('share one request: 1,000 calls', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const calls = Array.from({ length: 1000 }, () => media.createRoom('huddle:x', { maxParticipants: 12 }));
    await server.received(1);
    hold.releaseAll();
    const rooms = await Promise.all(calls);
    expect(server.requests).toHaveLength(1);
    for (const room of rooms) expect(room).toEqual(rooms[0]);
    expect(rooms[0]).not.toBe(rooms[1]);
  });

  test('are shared by platforms with the same server and key, and by no others', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const shared = [media.createRoom('room'), mediaAt(server.url).createRoom('room'), mediaAt(`${server.url}/`).createRoom('room'), mediaAt(server.url, { roomPrefix: 'ro-' }).createRoom('om')];
    const others = [
      mediaAt(server.url, { apiKey: 'another' }).createRoom('room'),
      mediaAt(`${server.url}/path`).createRoom('room'),
      media.createRoom('ro-om '),
    ];
    await server.received(5);
    hold.releaseAll();
    await Promise.all([...shared, ...others]);
    expect(server.requests).toHaveLength(5);
  });

  test('send a new request after the first response', async () => {
    const { server, media } = await serveMedia();
    await media.createRoom('room');
    await media.createRoom('room');
    expect(server.requests).toHaveLength(2);
  });

  test('fail with separate error objects', async () => {
    const { server, media } = await serveMedia(twirp(500, 'internal'));
    const errors = await Promise.all(Array.from({ length: 20 }, () => failureOf(media.createRoom('room'))));
    expect(server.requests).toHaveLength(1);
    for (const error of errors) expect(error).toMatchObject({ code: 'UPSTREAM_ERROR', requestId: server.requests[0].id });
    expect(new Set(errors).size).toBe(20);
  });

  test('succeed though others are aborted or time out', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const aborting = new AbortController();
    const short = failureOf(media.createRoom('room', {}, { timeoutMs: 100 }));
    const leaving = Array.from({ length: 25 }, () => failureOf(media.createRoom('room', {}, { signal: aborting.signal })));
    const staying = Array.from({ length: 24 }, () => media.createRoom('room'));
    await server.received(1);
    aborting.abort();
    for (const error of await Promise.all(leaving)) expect(error.code).toBe('ABORTED');
    expect((await short).code).toBe('TIMEOUT');
    expect(server.open.size).toBe(1);
    hold.releaseAll();
    for (const room of await Promise.all(staying)) expect(room.name).toBe('room');
    expect(server.requests).toHaveLength(1);
  });

  test('close the connection when all have been aborted or timed out', async () => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const leaving = Array.from({ length: 49 }, () => failureOf(media.createRoom('room', {}, { signal: aborting.signal })));
    leaving.push(failureOf(media.createRoom('room', {}, { timeoutMs: 150 })));
    await server.received(1);
    const closed = once(server, 'closed');
    aborting.abort();
    await closed;
    expect((await Promise.all(leaving)).map(({ code }) => code).sort()).toEqual([...Array(49).fill('ABORTED'), 'TIMEOUT']);
    server.respond = healthy();
    expect((await media.createRoom('room')).name).toBe('room');
    expect(server.requests).toHaveLength(2);
  });

  test('use the longest timeout', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const short = failureOf(media.createRoom('room', {}, { timeoutMs: 80 }));
    const long = media.createRoom('room', {}, { timeoutMs: 5000 });
    expect((await short).code).toBe('TIMEOUT');
    await server.received(1);
    hold.releaseAll();
    expect((await long).name).toBe('room');
    expect(server.requests).toHaveLength(1);
  });

  test('never overlap with deleteRoom of that room, and keep the order of the calls', async () => {
    const inside = new Map();
    const overlaps = [];
    const respond = healthy();
    const { server, media } = await serveMedia((exchange) => {
      const { room } = exchange;
      inside.set(room, (inside.get(room) ?? 0) + 1);
      if (inside.get(room) > 1) overlaps.push(room);
      setImmediate(() => {
        inside.set(room, inside.get(room) - 1);
        respond(exchange);
      });
    });
    const calls = [];
    for (let round = 0; round < 50; round += 1) {
      for (const room of ['a', 'b', 'c']) calls.push(media.createRoom(room), media.createRoom(room), media.deleteRoom(room));
    }
    await Promise.all(calls);
    expect(overlaps).toEqual([]);
    const order = server.requests.filter(({ room }) => room === 'a').map(({ method }) => method);
    expect(order).toEqual(Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 'CreateRoom' : 'DeleteRoom')));
  });

  test('do not block calls of other rooms', async () => {
    const hold = held();
    const respond = healthy();
    const { server, media } = await serveMedia((exchange) => (exchange.method === 'CreateRoom' && exchange.room === 'slow' ? hold : respond)(exchange));
    const slow = media.createRoom('slow');
    await server.received(1);
    await media.createRoom('quick');
    await media.deleteRoom('quick');
    await media.listParticipants('slow');
    hold.releaseAll();
    await slow;
  });
});
