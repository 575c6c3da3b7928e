'use strict';

// Servers that can't be reached, close connections or stall, and the timeout of calls.

require('./support/environment.js');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { certificates } = require('./support/certificates.js');
const { resultOf, root } = require('./support/child.js');
const { callInChild, failureOf, freePort, timed } = require('./support/faults.js');
const { PROTOBUF, end, halfBody, halfHead, healthy, held, inTurn, reset, silence, twirp } = require('./support/fault-server.js');
const { mediaAt, roomCalls } = require('./support/media.js');
const { cleanUp, serve, serveMedia } = require('./support/serve.js');

describe('a server that cannot be reached', () => {
  const unavailable = { code: 'UNAVAILABLE', retryable: true, operation: 'createRoom' };

  test('because nothing listens on its port', async () => {
    const error = await failureOf(mediaAt(`http://127.0.0.1:${await freePort()}`).createRoom('room'));
    expect(error).toMatchObject(unavailable);
    expect(error.upstreamStatus).toBeUndefined();
    expect(error.requestId).toMatch(/./);
  });

  test('because its name is unknown', async () => {
    expect(await failureOf(mediaAt('http://nothing.invalid').createRoom('room'))).toMatchObject(unavailable);
  });

  test('because its certificate is signed by an unknown authority', async () => {
    const server = await serve(healthy(), certificates().here);
    expect(await failureOf(mediaAt(server.url).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because its certificate of a trusted authority is for another name', async () => {
    const server = await serve(healthy(), certificates().elsewhere);
    const failure = await callInChild(server.url, { env: { NODE_EXTRA_CA_CERTS: certificates().authorityFile } });
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(server.requests).toHaveLength(0);
  });

  test('because its port does not use TLS', async () => {
    const { server } = await serveMedia();
    expect(await failureOf(mediaAt(server.url.replace('http', 'https')).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because its port uses TLS', async () => {
    const server = await serve(healthy(), certificates().here);
    expect(await failureOf(mediaAt(server.url.replace('https', 'http')).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because it accepts no more connections: TIMEOUT within the timeout', async () => {
    // A suspended process accepts nothing: its backlog fills, and the next connection stays half open.
    const child = spawn(process.execPath, ['-e', "require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })"]);
    cleanUp(() => child.kill('SIGKILL'));
    const port = Number((await once(child.stdout, 'data'))[0]);
    child.kill('SIGSTOP');
    const fillers = Array.from({ length: 8 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
    cleanUp(() => fillers.forEach((socket) => socket.destroy()));
    await once(fillers[0], 'connect');
    const media = mediaAt(`http://127.0.0.1:${port}`, { timeoutMs: 300 });
    const { outcome, tookMs } = await timed(() => failureOf(media.createRoom('room')));
    expect(outcome).toMatchObject({ code: 'TIMEOUT', retryable: true });
    expect(tookMs).toBeLessThan(1300);
  });
});

describe('TLS', () => {
  test('trusts the authorities in NODE_EXTRA_CA_CERTS', async () => {
    const server = await serve(healthy(), certificates().here);
    const env = { NODE_EXTRA_CA_CERTS: certificates().authorityFile };
    expect((await callInChild(server.url, { env })).result.name).toBe('room');
    // A first call without TLS must not keep the authorities from being read later.
    const plain = await serve();
    const names = await resultOf(
      `const { createPlatform } = require(entry);
      (async () => {
        const names = [];
        for (const url of ${JSON.stringify([plain.url, server.url.replace('https', 'wss'), server.url.replace('127.0.0.1', 'localhost')])}) {
          names.push((await createPlatform({ url, apiKey: 'k', apiSecret: 's' }).media.createRoom('room')).name);
        }
        console.log(JSON.stringify(names));
      })();`,
      { env },
    );
    expect(names).toEqual(['room', 'room', 'room']);
  });

  test('ignores NODE_EXTRA_CA_CERTS if the file is missing', async () => {
    const server = await serve(healthy(), certificates().here);
    const failure = await callInChild(server.url, { env: { NODE_EXTRA_CA_CERTS: path.join(root, 'missing.pem') } });
    expect(failure.code).toBe('UNAVAILABLE');
  });
});

describe('a connection that is closed', () => {
  const phases = {
    'before the response': reset,
    'within the headers': halfHead(reset),
    'after the headers': halfBody(reset),
    'before the response, by FIN': end,
    'within the headers, by FIN': halfHead(end),
    'after the headers, by FIN': halfBody(end),
  };

  test.each(Object.entries(phases))('%s: the request is retried once on a new connection', async (_, broken) => {
    const { server, media } = await serveMedia(inTurn(broken, healthy()));
    expect((await media.createRoom('room')).name).toBe('room');
    expect(server.requests).toHaveLength(2);
    expect(server.connections).toBe(2);
    expect(server.requests[0].id).toMatch(/./);
    expect(server.requests[1].id).toBe(server.requests[0].id);
  });

  test.each(Object.entries(phases))('%s, twice: UNAVAILABLE after one retry', async (_, broken) => {
    const { server, media } = await serveMedia(broken);
    const error = await failureOf(media.createRoom('room'));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, requestId: server.requests[0].id });
    expect(server.requests).toHaveLength(2);
  });

  test.each(Object.entries(roomCalls))('is retried once by %s', async (_, call) => {
    const { server, media } = await serveMedia(inTurn(reset, healthy()));
    await call(media);
    expect(server.requests).toHaveLength(2);
  });

  test('while kept alive is retried once, and the new one is kept alive', async () => {
    const { server, media } = await serveMedia(inTurn(healthy(), healthy(), reset, healthy()));
    for (let call = 0; call < 5; call += 1) await media.listRooms();
    expect(server.requests).toHaveLength(6);
    expect(new Set(server.requests.map(({ id }) => id)).size).toBe(5);
  });
});

describe('a request id', () => {
  test('is new for each call, and is in the failure', async () => {
    const { server, media } = await serveMedia(twirp(500, 'internal'));
    const errors = [];
    for (const call of Object.values(roomCalls)) errors.push(await failureOf(call(media)));
    expect(new Set(server.requests.map(({ id }) => id)).size).toBe(server.requests.length);
    expect(errors.map(({ requestId }) => requestId)).toEqual(server.requests.map(({ id }) => id));
  });
});

describe('a server that stalls', () => {
  const phases = { 'before its response': silence, 'within the headers': halfHead(silence), 'within the body': halfBody(silence) };
  const cases = Object.entries(phases).flatMap(([phase, answer]) => Object.keys(roomCalls).map((method) => [phase, method, answer]));

  test.each(cases)('%s is TIMEOUT after the timeout: %s', async (_, method, answer) => {
    const { server, media } = await serveMedia(answer);
    const { outcome, tookMs } = await timed(() => failureOf(roomCalls[method](media, { timeoutMs: 400 })));
    expect(outcome).toMatchObject({ code: 'TIMEOUT', retryable: true, operation: method, requestId: server.requests[0].id });
    expect(tookMs).toBeGreaterThanOrEqual(395);
    expect(tookMs).toBeLessThan(1400);
    expect(server.requests).toHaveLength(1);
  });

  test('loses its connection when the call times out', async () => {
    const { server, media } = await serveMedia(silence);
    const closed = once(server, 'closed');
    await failureOf(media.listRooms({ timeoutMs: 500 }));
    await closed;
  });

  test('is TIMEOUT after the configured timeout, or after that of the call', async () => {
    const { media } = await serveMedia(silence, { timeoutMs: 120 });
    const configured = await timed(() => failureOf(media.listRooms()));
    expect(configured.outcome.code).toBe('TIMEOUT');
    expect(configured.tookMs).toBeGreaterThanOrEqual(115);
    expect(configured.tookMs).toBeLessThan(1100);
    const own = await timed(() => failureOf(media.listRooms({ timeoutMs: 700 })));
    expect(own.tookMs).toBeGreaterThanOrEqual(695);
  });

  test('cannot extend the timeout by sending single bytes', async () => {
    const drip = ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${PROTOBUF}\r\nContent-Length: 1000\r\n\r\n`);
      const timer = setInterval(() => socket.write('\0'), 20);
      socket.on('close', () => clearInterval(timer));
    };
    const { media } = await serveMedia(drip);
    const { outcome, tookMs } = await timed(() => failureOf(media.listRooms({ timeoutMs: 200 })));
    expect(outcome.code).toBe('TIMEOUT');
    expect(tookMs).toBeLessThan(1200);
  });
});

describe('the timeout', () => {
  test('includes the retry', async () => {
    const late = ({ socket }) => setTimeout(() => socket.resetAndDestroy(), 100);
    const { server, media } = await serveMedia(inTurn(late, silence));
    const { outcome, tookMs } = await timed(() => failureOf(media.listRooms({ timeoutMs: 1500 })));
    expect(outcome.code).toBe('TIMEOUT');
    expect(server.requests).toHaveLength(2);
    expect(tookMs).toBeGreaterThanOrEqual(1495);
    expect(tookMs).toBeLessThan(2500);
  });

  test('includes the wait for one of 64 permits', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const first = Array.from({ length: 64 }, () => media.listRooms());
    await server.received(64);
    const { outcome, tookMs } = await timed(() => failureOf(media.listRooms({ timeoutMs: 100 })));
    expect(outcome.code).toBe('TIMEOUT');
    expect(tookMs).toBeLessThan(1100);
    expect(server.requests).toHaveLength(64);
    hold.releaseAll();
    await Promise.all(first);
  });

  test('includes the wait for another call of the same room, and does not block the room afterwards', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const creation = media.createRoom('room');
    await server.received(1);
    expect((await failureOf(media.deleteRoom('room', { timeoutMs: 60 }))).code).toBe('TIMEOUT');
    hold.releaseAll();
    await creation;
    server.respond = healthy();
    await media.deleteRoom('room');
    expect(server.requests.map(({ method }) => method)).toEqual(['CreateRoom', 'DeleteRoom']);
  });
});
