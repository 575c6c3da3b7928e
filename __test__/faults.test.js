'use strict';

require('./support/environment.js');
const { spawn } = require('node:child_process');
const { getEventListeners, once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { inspect } = require('node:util');
const { loadOverCore } = require('./support/broken-core.js');
const { certificates } = require('./support/certificates.js');
const { resultOf, root, runNode } = require('./support/child.js');
const failures = require('./support/failure.js');
const {
  FaultServer, PROTOBUF, end, endless, halfBody, halfHead, healthy, held, html, inTurn, livekit, protobuf, reset, roomOf, silence, twirp, whole,
} = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { startProxy } = require('./support/proxy.js');
const { cleanUp, serve, serveMedia } = require('./support/serve.js');

const MIB = 1024 * 1024;
const SECRETS = [apiSecret, 'eyJ'];

/** Every failure that this file has seen, for the search for secrets at its end. */
const seen = [];
const failureOf = async (promise) => {
  const error = await failures.failureOf(promise);
  seen.push(error);
  return error;
};

/** A port that was free a moment ago. */
async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** What a promise does within a time, which is not long on a busy machine either. */
async function timed(run) {
  const started = performance.now();
  const outcome = await run();
  return { outcome, tookMs: performance.now() - started };
}

/** A call of one method in a process of its own: its result or failure. */
function callInChild(url, { env, method = 'createRoom', args = ['room'], options = {} }) {
  const given = JSON.stringify({ url, apiKey, apiSecret, timeoutMs: 4000, ...options });
  return resultOf(
    `const { media } = require(entry).createPlatform(${given});
    media.${method}(...${JSON.stringify(args)}).then(
      (result) => console.log(JSON.stringify({ result: result ?? null })),
      ({ code, message, retryable }) => console.log(JSON.stringify({ code, message, retryable })),
    );`,
    { env },
  );
}

/** A call with the default budget, which goes on while the other tests run. */
let patient;
beforeAll(async () => {
  const server = await FaultServer.start(silence);
  patient = timed(() => failureOf(mediaAt(server.url).listRooms())).finally(() => server.close());
});

describe('a server that cannot be reached', () => {
  const unavailable = { code: 'UNAVAILABLE', retryable: true, operation: 'createRoom' };

  test('because nothing listens there', async () => {
    const error = await failureOf(mediaAt(`http://127.0.0.1:${await freePort()}`).createRoom('room'));
    expect(error).toMatchObject(unavailable);
    expect(error.upstreamStatus).toBeUndefined();
    expect(error.requestId).toMatch(/./);
  });

  test('because its name is not known', async () => {
    expect(await failureOf(mediaAt('http://nothing.invalid').createRoom('room'))).toMatchObject(unavailable);
  });

  test('because its certificate is signed by an unknown authority', async () => {
    const server = await serve(healthy(), certificates().here);
    expect(await failureOf(mediaAt(server.url).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because its certificate is for another name, though its authority is trusted', async () => {
    const server = await serve(healthy(), certificates().elsewhere);
    const failure = await callInChild(server.url, { env: { NODE_EXTRA_CA_CERTS: certificates().authorityFile } });
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(server.requests).toHaveLength(0);
  });

  test('because TLS is spoken to a plain port', async () => {
    const { server } = await serveMedia();
    expect(await failureOf(mediaAt(server.url.replace('http', 'https')).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because a TLS port is spoken to in plain', async () => {
    const server = await serve(healthy(), certificates().here);
    expect(await failureOf(mediaAt(server.url.replace('https', 'http')).createRoom('room'))).toMatchObject(unavailable);
    expect(server.requests).toHaveLength(0);
  });

  test('because it takes no more connections, within the budget', async () => {
    // A stopped process accepts nothing: its backlog fills, and the next connection stays half open.
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
  test('works where Node trusts the authority through NODE_EXTRA_CA_CERTS', async () => {
    const server = await serve(healthy(), certificates().here);
    const env = { NODE_EXTRA_CA_CERTS: certificates().authorityFile };
    expect((await callInChild(server.url, { env })).result.name).toBe('room');
    // In one process a plain server may come first, for which no authorities are read.
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

  test('goes without a file of authorities that is missing', async () => {
    const server = await serve(healthy(), certificates().here);
    const failure = await callInChild(server.url, { env: { NODE_EXTRA_CA_CERTS: path.join(root, 'missing.pem') } });
    expect(failure.code).toBe('UNAVAILABLE');
  });
});

describe('a connection that is reset', () => {
  const phases = {
    'before the answer': reset,
    'within the head': halfHead(reset),
    'after the head': halfBody(reset),
    'before the answer, in an orderly way': end,
    'within the head, in an orderly way': halfHead(end),
    'after the head, in an orderly way': halfBody(end),
  };

  test.each(Object.entries(phases))('%s: one retry on a new connection, which is enough', async (_, broken) => {
    const { server, media } = await serveMedia(inTurn(broken, healthy()));
    expect((await media.createRoom('room')).name).toBe('room');
    expect(server.requests).toHaveLength(2);
    expect(server.connections).toBe(2);
    expect(server.requests[0].id).toMatch(/./);
    expect(server.requests[1].id).toBe(server.requests[0].id);
  });

  test.each(Object.entries(phases))('%s, and again: UNAVAILABLE after one retry', async (_, broken) => {
    const { server, media } = await serveMedia(broken);
    const error = await failureOf(media.createRoom('room'));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, requestId: server.requests[0].id });
    expect(server.requests).toHaveLength(2);
  });

  test.each(Object.entries(roomCalls))('is tried once more by %s', async (_, call) => {
    const { server, media } = await serveMedia(inTurn(reset, healthy()));
    await call(media);
    expect(server.requests).toHaveLength(2);
  });

  test('is tried once more where a kept-alive connection broke, and then is kept alive again', async () => {
    const { server, media } = await serveMedia(inTurn(healthy(), healthy(), reset, healthy()));
    for (let call = 0; call < 5; call += 1) await media.listRooms();
    expect(server.requests).toHaveLength(6);
    expect(new Set(server.requests.map(({ id }) => id)).size).toBe(5);
  });
});

describe('a request id', () => {
  test('is new for each call, and the failure names it', async () => {
    const { server, media } = await serveMedia(twirp(500, 'internal'));
    const errors = [];
    for (const call of Object.values(roomCalls)) errors.push(await failureOf(call(media)));
    expect(new Set(server.requests.map(({ id }) => id)).size).toBe(server.requests.length);
    expect(errors.map(({ requestId }) => requestId)).toEqual(server.requests.map(({ id }) => id));
  });
});

describe('a server that stalls', () => {
  const phases = { 'before it answers': silence, 'within the head': halfHead(silence), 'within the body': halfBody(silence) };
  const cases = Object.entries(phases).flatMap(([phase, answer]) => Object.keys(roomCalls).map((method) => [phase, method, answer]));

  test.each(cases)('%s ends in TIMEOUT within the budget: %s', async (_, method, answer) => {
    const { server, media } = await serveMedia(answer);
    const { outcome, tookMs } = await timed(() => failureOf(roomCalls[method](media, { timeoutMs: 400 })));
    expect(outcome).toMatchObject({ code: 'TIMEOUT', retryable: true, operation: method, requestId: server.requests[0].id });
    expect(tookMs).toBeGreaterThanOrEqual(395);
    expect(tookMs).toBeLessThan(1400);
    expect(server.requests).toHaveLength(1);
  });

  test('ends the upstream connection with the call', async () => {
    const { server, media } = await serveMedia(silence);
    const closed = once(server, 'closed');
    await failureOf(media.listRooms({ timeoutMs: 500 }));
    await closed;
  });

  test('ends in TIMEOUT after the configured budget, and a budget of the call beats it', async () => {
    const { media } = await serveMedia(silence, { timeoutMs: 120 });
    const configured = await timed(() => failureOf(media.listRooms()));
    expect(configured.outcome.code).toBe('TIMEOUT');
    expect(configured.tookMs).toBeGreaterThanOrEqual(115);
    expect(configured.tookMs).toBeLessThan(1100);
    const own = await timed(() => failureOf(media.listRooms({ timeoutMs: 700 })));
    expect(own.tookMs).toBeGreaterThanOrEqual(695);
  });

  test('cannot draw the call out by sending a little now and then', async () => {
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

describe('one deadline', () => {
  test('covers the retry too', async () => {
    const late = ({ socket }) => setTimeout(() => socket.resetAndDestroy(), 100);
    const { server, media } = await serveMedia(inTurn(late, silence));
    const { outcome, tookMs } = await timed(() => failureOf(media.listRooms({ timeoutMs: 1500 })));
    expect(outcome.code).toBe('TIMEOUT');
    expect(server.requests).toHaveLength(2);
    expect(tookMs).toBeGreaterThanOrEqual(1495);
    expect(tookMs).toBeLessThan(2500);
  });

  test('covers the wait for a place too', async () => {
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

  test('covers the wait for the turn of a room too, and leaves the room free', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const creation = media.createRoom('room');
    await server.received(1);
    expect((await failureOf(media.deleteRoom('room', { timeoutMs: 60 }))).code).toBe('TIMEOUT');
    hold.releaseAll();
    await creation;
    server.answer = healthy();
    await media.deleteRoom('room');
    expect(server.requests.map(({ method }) => method)).toEqual(['CreateRoom', 'DeleteRoom']);
  });
});

describe('an answer', () => {
  const echo = ({ headers, socket }) => whole(401, 'text/plain', `invalid token: ${headers.authorization}, error: go-jose`)({ socket });
  /** @type {[string, import('./support/fault-server.js').Answer, object][]} */
  const answers = [
    ['200 of HTML', html(200), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 of JSON', whole(200, 'application/json', '{"sid":"RM","name":"room"}'), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 with nothing', whole(200, '', ''), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 without a room', whole(200, PROTOBUF, ''), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 of bytes that are no protobuf', whole(200, PROTOBUF, Buffer.from('ffffffffffffff', 'hex')), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 of protobuf that breaks off', whole(200, PROTOBUF, roomOf('room').toBinary().subarray(0, -3)), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ["200 with another room's name", protobuf(roomOf('another')), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['204', whole(204, '', ''), { code: 'BAD_RESPONSE', upstreamStatus: 204 }],
    ['500 of HTML', html(500), { code: 'BAD_RESPONSE', upstreamStatus: 500 }],
    ['404 of text', whole(404, 'text/plain', '404 page not found'), { code: 'BAD_RESPONSE', upstreamStatus: 404 }],
    ['400 of HTML', html(400), { code: 'BAD_RESPONSE', upstreamStatus: 400 }],
    ['401 that echoes the token', echo, { code: 'UNAUTHENTICATED', upstreamStatus: 401 }],
    ['401 with nothing', whole(401, '', ''), { code: 'UNAUTHENTICATED', upstreamStatus: 401 }],
    ['401 unauthenticated', twirp(401, 'unauthenticated'), { code: 'PERMISSION_DENIED', upstreamStatus: 401 }],
    ['403 permission_denied', twirp(403, 'permission_denied'), { code: 'PERMISSION_DENIED', upstreamStatus: 403 }],
    ['403 of HTML', html(403), { code: 'PERMISSION_DENIED', upstreamStatus: 403 }],
    ['451', whole(451, 'text/plain', 'project not allowed in this region'), { code: 'PERMISSION_DENIED', upstreamStatus: 451 }],
    ['404 bad_route', twirp(404, 'bad_route'), { code: 'UPSTREAM_ERROR', upstreamStatus: 404, says: 'bad_route' }],
    ['400 invalid_argument', twirp(400, 'invalid_argument'), { code: 'UPSTREAM_ERROR', upstreamStatus: 400, says: 'invalid_argument' }],
    ['412 failed_precondition', twirp(412, 'failed_precondition'), { code: 'UPSTREAM_ERROR', upstreamStatus: 412, says: 'failed_precondition' }],
    ['500 internal', twirp(500, 'internal'), { code: 'UPSTREAM_ERROR', upstreamStatus: 500, says: 'internal' }],
    ['501 unimplemented', twirp(501, 'unimplemented'), { code: 'UPSTREAM_ERROR', upstreamStatus: 501, says: 'unimplemented' }],
    ['413', whole(413, 'text/plain', 'request body too large'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 413 }],
    ['413 resource_exhausted', twirp(413, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 413 }],
    ['403 resource_exhausted, as older servers say it', twirp(403, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 403 }],
    ['429 resource_exhausted', twirp(429, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', retryable: true, upstreamStatus: 429 }],
    ['429 of HTML', html(429), { code: 'LIMIT_EXCEEDED', retryable: true, upstreamStatus: 429 }],
    ['500 unknown, where no node is free', twirp(500, 'unknown'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 500 }],
    ['408 deadline_exceeded, where a node is silent', twirp(408, 'deadline_exceeded'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 408 }],
    ['408 canceled, where a node shuts down', twirp(408, 'canceled'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 408 }],
    ['502 of HTML', html(502), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 502 }],
    ['502 with nothing', whole(502, '', ''), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 502 }],
    ['503 unavailable', twirp(503, 'unavailable'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 503 }],
    ['503 of HTML', html(503), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 503 }],
    ['504 of HTML', html(504), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 504 }],
  ];

  test.each(answers)('of %s has its code, and is not asked for again', async (_, answer, { says, ...expected }) => {
    const { server, media } = await serveMedia(answer);
    const error = await failureOf(media.createRoom('room'));
    expect(error).toMatchObject({ operation: 'createRoom', retryable: false, requestId: server.requests[0].id, ...expected });
    if (says) expect(error.message).toContain(says);
    expect(server.requests).toHaveLength(1);
  });

  // Where no protobuf is due, its absence is right; what is not LiveKit's is wrong for every method.
  const notLiveKit = { HTML: html(200), 'no answer': whole(200, '', ''), 'no protobuf': whole(200, PROTOBUF, Buffer.from('ffffffffffffff', 'hex')) };
  test.each(Object.keys(roomCalls).flatMap((method) => Object.entries(notLiveKit).map(([name, answer]) => [method, name, answer])))(
    '%s takes none for success: %s',
    async (method, _, answer) => {
      const { media } = await serveMedia(answer);
      expect(await failureOf(roomCalls[method](media))).toMatchObject({ code: 'BAD_RESPONSE', operation: method, retryable: false });
    },
  );

  test('without content is right where the message has none', async () => {
    const { media } = await serveMedia(whole(200, PROTOBUF, ''));
    expect(await media.deleteRoom('room')).toBeUndefined();
    expect(await media.removeParticipant('room', 'ann')).toBeUndefined();
    expect(await media.listRooms()).toEqual([]);
    expect(await media.listParticipants('room')).toEqual([]);
  });

  test('in pieces, chunked, or after an interim one is understood', async () => {
    const body = Buffer.from(roomOf('room').toBinary());
    const start = `HTTP/1.1 200 OK\r\ncontent-type: ${PROTOBUF}; charset=binary\r\n`;
    const pieces = ({ socket }) => {
      const bytes = Buffer.concat([Buffer.from(`${start}Content-Length: ${body.length}\r\n\r\n`), body]);
      let next = 0;
      const more = () => next < bytes.length && socket.write(bytes.subarray(next, (next += 7)), () => setImmediate(more));
      more();
    };
    const chunked = ({ socket }) => {
      socket.write(`${start}Transfer-Encoding: chunked\r\n\r\n`);
      for (const byte of body) socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.of(byte), Buffer.from('\r\n')]));
      socket.write('0\r\n\r\n');
    };
    const interim = ({ socket }) => {
      socket.write('HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n');
      protobuf(roomOf('room'))({ socket });
    };
    const untilClosed = ({ socket }) => {
      socket.write(`${start}Connection: close\r\n\r\n`);
      socket.end(body);
    };
    for (const answer of [pieces, chunked, interim, untilClosed]) {
      const { media } = await serveMedia(answer);
      expect((await media.createRoom('room')).name).toBe('room');
    }
  });

  test.each([301, 302, 303, 307, 308])('%i is never followed', async (status) => {
    const target = await serve();
    const { server, media } = await serveMedia(whole(status, '', '', { Location: `${target.url}/twirp/livekit.RoomService/CreateRoom` }));
    expect(await failureOf(media.createRoom('room'))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false, upstreamStatus: status });
    expect(server.requests).toHaveLength(1);
    expect(target.connections).toBe(0);
  });

  test.each([
    ['an SSH server', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'],
    ['a Redis server', '-ERR unknown command\r\n'],
    ['a mail server', '220 mail.example ESMTP\r\n'],
  ])('of %s is not LiveKit', async (_, banner) => {
    const { media } = await serveMedia(({ socket }) => socket.end(banner));
    expect(await failureOf(media.createRoom('room'))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false });
  });
});

describe('an answer that takes more memory than its size', () => {
  // An element of two bytes: a room or participant without any field.
  const emptyElements = (bytes) => whole(200, PROTOBUF, Buffer.alloc(bytes, '\n\0'));

  test.each(['listRooms()', "listParticipants('room')"])('%s rejects 8 MiB of empty elements before they are decoded', async (call) => {
    const server = await serve(emptyElements(8 * MIB));
    const { code, retryable, grownMib } = await resultOf(
      `const { media } = require(entry).createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret })});
      const peak = () => process.resourceUsage().maxRSS / 1024;
      const before = peak();
      media.${call}.catch(({ code, retryable }) => console.log(JSON.stringify({ code, retryable, grownMib: peak() - before })));`,
    );
    expect({ code, retryable }).toEqual({ code: 'BAD_RESPONSE', retryable: false });
    expect(grownMib).toBeLessThan(100);
  });

  test.each(['deleteRoom', 'removeParticipant'])('%s, whose answer is empty, rejects more than 64 KiB', async (method) => {
    const { media } = await serveMedia(emptyElements(64 * 1024 + 2));
    expect(await failureOf(roomCalls[method](media))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false });
  });

  test('a result longer than 64 MiB of JSON is LIMIT_EXCEEDED', async () => {
    // A control character is six bytes of JSON.
    const participant = new livekit.ParticipantInfo({ identity: 'ann', metadata: '\0'.repeat(11 * MIB) });
    const { media } = await serveMedia(protobuf(new livekit.ListParticipantsResponse({ participants: [participant] })));
    expect(await failureOf(media.listParticipants('room'))).toMatchObject({ code: 'LIMIT_EXCEEDED', retryable: false });
  });

  test('more long lists than are decoded at a time are all answered', async () => {
    const rooms = Array.from({ length: 10_000 }, (_, i) => roomOf(`room-${i}`, { metadata: 'm'.repeat(200) }));
    const { media } = await serveMedia(protobuf(new livekit.ListRoomsResponse({ rooms })));
    const lists = await Promise.all(Array.from({ length: 12 }, () => media.listRooms({ timeoutMs: 60_000 })));
    expect(lists.map((list) => list.length)).toEqual(Array(12).fill(10_000));
  });
});

describe('not_found', () => {
  const missing = twirp(404, 'not_found');

  test('is success for deleteRoom', async () => {
    const { media } = await serveMedia(missing);
    expect(await media.deleteRoom('room')).toBeUndefined();
  });

  test('is success for removeParticipant after a request that broke, which may have removed them', async () => {
    const { server, media } = await serveMedia(inTurn(reset, missing));
    expect(await media.removeParticipant('room', 'ann')).toBeUndefined();
    expect(server.requests).toHaveLength(2);
  });

  test.each([
    ['createRoom', 'ROOM_NOT_FOUND'],
    ['listParticipants', 'ROOM_NOT_FOUND'],
    ['removeParticipant', 'PARTICIPANT_NOT_FOUND'],
    ['listRooms', 'UPSTREAM_ERROR'],
  ])('in %s is %s', async (method, code) => {
    const { server, media } = await serveMedia(missing, { roomPrefix: 'app:' });
    const error = await failureOf(roomCalls[method](media));
    expect(error).toMatchObject({ code, operation: method, retryable: false, upstreamStatus: 404, requestId: server.requests[0].id });
    expect(error.message).not.toContain('app:');
  });
});

describe('deleteRoom of a record whose node is gone', () => {
  const gone = twirp(503, 'unavailable');
  const methods = (server) => server.requests.map(({ method }) => method);

  test('creates the room anew and deletes that', async () => {
    const { server, media } = await serveMedia(inTurn(gone, healthy(), healthy()), { roomPrefix: 'app:' });
    await media.deleteRoom('room');
    expect(methods(server)).toEqual(['DeleteRoom', 'CreateRoom', 'DeleteRoom']);
    expect(server.requests.map(({ room }) => room)).toEqual(['app:room', 'app:room', 'app:room']);
  });

  test('is UNAVAILABLE where no node can be had', async () => {
    const { server, media } = await serveMedia(gone);
    expect(await failureOf(media.deleteRoom('room'))).toMatchObject({ code: 'UNAVAILABLE', operation: 'deleteRoom', retryable: true });
    expect(methods(server)).toEqual(['DeleteRoom', 'CreateRoom']);
  });

  test('is left alone where only a proxy says 503', async () => {
    const { server, media } = await serveMedia(html(503));
    expect((await failureOf(media.deleteRoom('room'))).code).toBe('UNAVAILABLE');
    expect(methods(server)).toEqual(['DeleteRoom']);
  });
});

describe('a gigabyte', () => {
  const cases = [
    ['announced, from createRoom', { status: 200, announced: true }, 'createRoom', 'BAD_RESPONSE', 32],
    ['chunked, from createRoom', { status: 200, announced: false }, 'createRoom', 'BAD_RESPONSE', 32],
    ['announced, from listRooms', { status: 200, announced: true }, 'listRooms', 'BAD_RESPONSE', 128],
    ['chunked, from listRooms', { status: 200, announced: false }, 'listRooms', 'BAD_RESPONSE', 128],
    ['announced, in a refusal', { status: 502, announced: true }, 'createRoom', 'UNAVAILABLE', 32],
    ['chunked, in a refusal', { status: 502, announced: false }, 'createRoom', 'UNAVAILABLE', 32],
    ['chunked, in a refusal of text', { status: 401, announced: false, type: 'text/plain' }, 'createRoom', 'UNAUTHENTICATED', 32],
  ];

  test.each(cases)('%s, is not read', async (_, { status, ...how }, method, code, mostMiB) => {
    const flow = endless(status, how);
    const { server, media } = await serveMedia(flow);
    const before = process.memoryUsage.rss();
    const closed = once(server, 'closed');
    expect((await failureOf(roomCalls[method](media))).code).toBe(code);
    await closed;
    expect(flow.written).toBeLessThan(mostMiB * 2 ** 20);
    expect(process.memoryUsage.rss() - before).toBeLessThan(mostMiB * 2 ** 20);
  });

  test('of header lines is not read', async () => {
    const line = `X-Filler: ${'x'.repeat(60_000)}\r\n`;
    let written = 0;
    const flow = ({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const more = () => {
        while (!socket.destroyed && written < 2 ** 30) {
          written += line.length;
          if (!socket.write(line)) return socket.once('drain', more);
        }
      };
      more();
    };
    const { media } = await serveMedia(flow);
    expect(await failureOf(media.createRoom('room'))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false });
    expect(written).toBeLessThan(32 * 2 ** 20);
  });
});

describe('kept-alive connections', () => {
  test('are used again, one for calls that follow one another', async () => {
    const { server, media } = await serveMedia();
    for (const call of [...Object.values(roomCalls), ...Object.values(roomCalls)]) await call(media);
    await mediaAt(server.url).listRooms();
    expect(server.requests).toHaveLength(11);
    expect(server.connections).toBe(1);
  });

  test('are used again after a refusal and after a bad answer', async () => {
    const { server, media } = await serveMedia(inTurn(twirp(400, 'invalid_argument'), html(502), healthy()));
    await failureOf(media.listRooms());
    await failureOf(media.listRooms());
    await media.listRooms();
    expect(server.connections).toBe(1);
  });

  // The client is a process of its own, so that its memory can be told from the server's. The moment between answer and
  // close varies, so that some closes meet the next request on its way.
  test.each([
    ['after each answer', 1],
    ['after five answers', 5],
  ])('that the server closes %s lose none of 10,000 calls, and no memory', async (_, most) => {
    const answer = healthy();
    let closed = 0;
    const server = await serve((exchange) => {
      answer(exchange);
      if (exchange.socket.served < most) return;
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

describe('calls at the same time', () => {
  test('are at most 64 in flight, and the others follow in order of arrival', async () => {
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

  test('give their place on when they end early', async () => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const first = Array.from({ length: 64 }, () => failureOf(media.listRooms({ signal: aborting.signal })));
    const next = media.listParticipants('next');
    await server.received(64);
    server.answer = healthy();
    aborting.abort();
    expect(await next).toEqual([]);
    for (const error of await Promise.all(first)) expect(error.code).toBe('ABORTED');
  });
});

describe('createRoom of one name', () => {
  test('a thousand times at once is one request', async () => {
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

  test('is shared by all platforms of one server and key, and by no others', async () => {
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

  test('is a new request once the first has been answered', async () => {
    const { server, media } = await serveMedia();
    await media.createRoom('room');
    await media.createRoom('room');
    expect(server.requests).toHaveLength(2);
  });

  test('fails for all callers alike, each with an error of its own', async () => {
    const { server, media } = await serveMedia(twirp(500, 'internal'));
    const errors = await Promise.all(Array.from({ length: 20 }, () => failureOf(media.createRoom('room'))));
    expect(server.requests).toHaveLength(1);
    for (const error of errors) expect(error).toMatchObject({ code: 'UPSTREAM_ERROR', requestId: server.requests[0].id });
    expect(new Set(errors).size).toBe(20);
  });

  test('loses only the callers that leave: half aborted, one out of time', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const aborting = new AbortController();
    const hasty = failureOf(media.createRoom('room', {}, { timeoutMs: 100 }));
    const leaving = Array.from({ length: 25 }, () => failureOf(media.createRoom('room', {}, { signal: aborting.signal })));
    const staying = Array.from({ length: 24 }, () => media.createRoom('room'));
    await server.received(1);
    aborting.abort();
    for (const error of await Promise.all(leaving)) expect(error.code).toBe('ABORTED');
    expect((await hasty).code).toBe('TIMEOUT');
    expect(server.open.size).toBe(1);
    hold.releaseAll();
    for (const room of await Promise.all(staying)) expect(room.name).toBe('room');
    expect(server.requests).toHaveLength(1);
  });

  test('ends upstream when all callers have left', async () => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const leaving = Array.from({ length: 49 }, () => failureOf(media.createRoom('room', {}, { signal: aborting.signal })));
    leaving.push(failureOf(media.createRoom('room', {}, { timeoutMs: 150 })));
    await server.received(1);
    const closed = once(server, 'closed');
    aborting.abort();
    await closed;
    expect((await Promise.all(leaving)).map(({ code }) => code).sort()).toEqual([...Array(49).fill('ABORTED'), 'TIMEOUT']);
    server.answer = healthy();
    expect((await media.createRoom('room')).name).toBe('room');
    expect(server.requests).toHaveLength(2);
  });

  test('has the budget of its most patient caller', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const hasty = failureOf(media.createRoom('room', {}, { timeoutMs: 80 }));
    const patient = media.createRoom('room', {}, { timeoutMs: 5000 });
    expect((await hasty).code).toBe('TIMEOUT');
    await server.received(1);
    hold.releaseAll();
    expect((await patient).name).toBe('room');
    expect(server.requests).toHaveLength(1);
  });

  test('never overlaps with deleteRoom of that name, and keeps the order of the calls', async () => {
    const inside = new Map();
    const overlaps = [];
    const answer = healthy();
    const { server, media } = await serveMedia((exchange) => {
      const { room } = exchange;
      inside.set(room, (inside.get(room) ?? 0) + 1);
      if (inside.get(room) > 1) overlaps.push(room);
      setImmediate(() => {
        inside.set(room, inside.get(room) - 1);
        answer(exchange);
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

  test('does not wait for rooms of other names', async () => {
    const hold = held();
    const answer = healthy();
    const { server, media } = await serveMedia((exchange) => (exchange.method === 'CreateRoom' && exchange.room === 'slow' ? hold : answer)(exchange));
    const slow = media.createRoom('slow');
    await server.received(1);
    await media.createRoom('quick');
    await media.deleteRoom('quick');
    await media.listParticipants('slow');
    hold.releaseAll();
    await slow;
  });
});

describe("a caller's signal", () => {
  const all = {
    ...roomCalls,
    generateToken: (media, options) => media.generateToken('room', { identity: 'ann', name: 'Ann' }, options),
    mediaUrl: (media, options) => media.mediaUrl(options),
  };

  test.each(Object.entries(all))('that is aborted before sends nothing: %s', async (operation, call) => {
    const { server, media } = await serveMedia();
    const reason = { why: 'not needed' };
    const error = await failureOf(call(media, { signal: AbortSignal.abort(reason) }));
    expect(error).toMatchObject({ code: 'ABORTED', operation, retryable: false });
    expect(error.cause).toBe(reason);
    expect(server.connections).toBe(0);
  });

  test.each(Object.entries(roomCalls))('that aborts meanwhile ends the upstream connection: %s', async (operation, call) => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const failing = failureOf(call(media, { signal: aborting.signal }));
    const { socket } = await server.received(1);
    expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(1);
    const closed = new Promise((resolve) => server.on('closed', (ended) => ended === socket && resolve()));
    const reason = new Error('the visitor left');
    aborting.abort(reason);
    const error = await failing;
    expect(error).toMatchObject({ code: 'ABORTED', operation, retryable: false });
    expect(error.cause).toBe(reason);
    expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(0);
    await closed;
  });

  test.each([
    ['half a head', halfHead(silence)],
    ['half a body', halfBody(silence)],
  ])('that aborts after %s ends the upstream connection too', async (_, answer) => {
    const { server, media } = await serveMedia(answer);
    const aborting = new AbortController();
    const failing = failureOf(media.listRooms({ signal: aborting.signal }));
    await server.received(1);
    const closed = once(server, 'closed');
    aborting.abort();
    expect((await failing).code).toBe('ABORTED');
    await closed;
  });

  test('that times out gives that as the cause', async () => {
    const { media } = await serveMedia(silence);
    const error = await failureOf(media.listRooms({ signal: AbortSignal.timeout(40) }));
    expect(error.code).toBe('ABORTED');
    expect(error.cause.name).toBe('TimeoutError');
  });

  test('takes a call out of the queue, which is then never sent', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const first = Array.from({ length: 64 }, () => media.listRooms());
    await server.received(64);
    const aborting = new AbortController();
    const queued = failureOf(media.listParticipants('queued', { signal: aborting.signal }));
    const last = media.listParticipants('last');
    aborting.abort();
    expect((await queued).code).toBe('ABORTED');
    server.answer = healthy();
    hold.releaseAll();
    await Promise.all([...first, last]);
    expect(server.requests.map(({ room }) => room)).not.toContain('queued');
  });

  test('is let go of after success and after failure', async () => {
    const { server, media } = await serveMedia();
    const { signal } = new AbortController();
    for (const call of Object.values(all)) await call(media, { signal });
    server.answer = twirp(500, 'internal');
    for (const call of Object.values(roomCalls)) await failureOf(call(media, { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('ends all calls that share it, also after one of them is over', async () => {
    const { server, media } = await serveMedia((exchange) => (exchange.room === 'quick' ? healthy() : silence)(exchange));
    const aborting = new AbortController();
    const { signal } = aborting;
    const pending = ['a', 'b'].map((room) => failureOf(media.listParticipants(room, { signal })));
    await media.listParticipants('quick', { signal });
    await server.received(3);
    aborting.abort();
    for (const error of await Promise.all(pending)) expect(error.code).toBe('ABORTED');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('may be shared by many calls, without a warning, and may abort when they are over', async () => {
    const server = await serve();
    const { warnings } = await resultOf(
      `const { media } = require(entry).createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret })});
      const warnings = [];
      process.on('warning', ({ message }) => warnings.push(message));
      (async () => {
        const aborting = new AbortController();
        const options = { signal: aborting.signal };
        await Promise.all(Array.from({ length: 60 }, () => media.listRooms(options)));
        aborting.abort();
        await new Promise(setImmediate);
        console.log(JSON.stringify({ warnings }));
      })();`,
    );
    expect(warnings).toEqual([]);
  });

  test('of one caller leaves the others alone', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const aborting = new AbortController();
    const leaving = failureOf(media.listParticipants('room', { signal: aborting.signal }));
    const staying = media.listParticipants('room');
    await server.received(2);
    aborting.abort();
    expect((await leaving).code).toBe('ABORTED');
    hold.releaseAll();
    expect(await staying).toEqual([]);
  });
});

describe('a path in the URL', () => {
  test.each(['/livekit', '/livekit/', '/a/b%20c'])('is kept: %s', async (prefix) => {
    const server = await serve();
    const media = mediaAt(`${server.url}${prefix}`);
    await media.createRoom('room');
    const kept = prefix.replace(/\/$/, '');
    expect(server.requests[0].target).toBe(`${kept}/twirp/livekit.RoomService/CreateRoom`);
    expect(await media.mediaUrl()).toBe(`${server.url.replace('http', 'ws')}${kept}`);
  });
});

describe('a proxy', () => {
  async function proxied(certificate) {
    const server = await serve(healthy(), certificate);
    const proxy = await startProxy(server.port);
    cleanUp(() => proxy.close());
    return { server, proxy };
  }

  test.each(['HTTP_PROXY', 'http_proxy'])('of %s is used for http', async (variable) => {
    const { server, proxy } = await proxied();
    const { result } = await callInChild('http://livekit.test', { env: { [variable]: proxy.url } });
    expect(result.name).toBe('room');
    expect(server.requests).toHaveLength(1);
    expect(proxy.seen[0].target).toBe('http://livekit.test/twirp/livekit.RoomService/CreateRoom');
  });

  test.each(['HTTPS_PROXY', 'https_proxy'])('of %s is used for https, as a tunnel', async (variable) => {
    const { server, proxy } = await proxied(certificates().here);
    const env = { [variable]: proxy.url, NODE_EXTRA_CA_CERTS: certificates().authorityFile };
    const { result } = await callInChild('wss://livekit.test', { env });
    expect(result.name).toBe('room');
    expect(server.requests).toHaveLength(1);
    expect(proxy.seen.map(({ method, target }) => [method, target])).toEqual([['CONNECT', 'livekit.test:443']]);
    expect(JSON.stringify(proxy.seen)).not.toContain('eyJ');
  });

  test('for the other scheme is not used', async () => {
    const { proxy } = await proxied();
    expect((await callInChild('http://livekit.test', { env: { HTTPS_PROXY: proxy.url } })).code).toBe('UNAVAILABLE');
    expect((await callInChild('https://livekit.test', { env: { HTTP_PROXY: proxy.url } })).code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test.each([
    ['NO_PROXY', 'livekit.test'],
    ['no_proxy', '.livekit.test, example.org'],
    ['NO_PROXY', '*'],
    ['NO_PROXY', 'example.org,test'],
  ])('is not used for a host that %s names: %s', async (variable, hosts) => {
    const { proxy } = await proxied();
    const { code } = await callInChild('http://sfu.livekit.test'.replace(hosts === 'livekit.test' ? 'sfu.' : '', ''), { env: { HTTP_PROXY: proxy.url, [variable]: hosts } });
    expect(code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test('is used for a host that NO_PROXY does not name', async () => {
    const { proxy } = await proxied();
    const { result } = await callInChild('http://livekit.test', { env: { HTTP_PROXY: proxy.url, NO_PROXY: 'example.org' } });
    expect(result.name).toBe('room');
    expect(proxy.seen).toHaveLength(1);
  });

  test.each(['127.0.0.1', 'localhost', '127.1.2.3', '[::1]', 'LOCALHOST'])('is never used for loopback: %s', async (host) => {
    const { server, proxy } = await proxied();
    const outcome = await callInChild(`http://${host}:${server.port}`, { env: { HTTP_PROXY: proxy.url, http_proxy: proxy.url, NO_PROXY: 'example.org' } });
    // The server listens on 127.0.0.1 only; what matters is that the proxy was not asked.
    expect(outcome.result?.name ?? outcome.code).toMatch(/^(room|UNAVAILABLE)$/);
    expect(proxy.seen).toHaveLength(0);
  });

  test("is not taken from a visitor's header, as HTTP_PROXY is under CGI", async () => {
    const { proxy } = await proxied();
    expect((await callInChild('http://livekit.test', { env: { HTTP_PROXY: proxy.url, REQUEST_METHOD: 'GET' } })).code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test('gets its own password, which no message shows', async () => {
    const { proxy } = await proxied();
    const withPassword = proxy.url.replace('//', '//user:proxy-password@');
    await callInChild('http://livekit.test', { env: { HTTP_PROXY: withPassword } });
    expect(proxy.seen[0].headers['proxy-authorization']).toBe(`Basic ${Buffer.from('user:proxy-password').toString('base64')}`);
    const refused = await callInChild('http://livekit.test', { env: { HTTP_PROXY: `http://user:proxy-password@127.0.0.1:${await freePort()}` } });
    expect(refused.code).toBe('UNAVAILABLE');
    expect(JSON.stringify(refused)).not.toContain('proxy-password');
  });

  test.each(['http://pass word@:x', 'socks5://user:pass-word@127.0.0.1:1080', 'ftp://127.0.0.1'])('that is none is INVALID_CONFIG, and the message names the variable: %s', async (url) => {
    const failure = await callInChild('http://livekit.test', { env: { HTTP_PROXY: url } });
    expect(failure.code).toBe('INVALID_CONFIG');
    expect(failure.message).toContain('HTTP_PROXY');
    expect(failure.message).not.toMatch(/pass.word/);
  });

  test('that refuses is UNAVAILABLE', async () => {
    const server = await serve(html(407));
    const failure = await callInChild('https://livekit.test', { env: { HTTPS_PROXY: server.url } });
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  });
});

describe('every error code', () => {
  const occurrences = {
    INVALID_ARGUMENT: () => mediaAt('ws://127.0.0.1:1').createRoom(''),
    INVALID_CONFIG: async () => mediaAt('not a url'),
    URL_NOT_CONFIGURED: () => mediaAt(undefined).listRooms(),
    UNAUTHENTICATED: () => answered(whole(401, 'text/plain', 'invalid token')),
    PERMISSION_DENIED: () => answered(twirp(403, 'permission_denied')),
    ROOM_NOT_FOUND: () => answered(twirp(404, 'not_found'), 'listParticipants'),
    PARTICIPANT_NOT_FOUND: () => answered(twirp(404, 'not_found'), 'removeParticipant'),
    LIMIT_EXCEEDED: () => answered(twirp(429, 'resource_exhausted')),
    UNAVAILABLE: () => answered(html(502)),
    TIMEOUT: () => answered(silence, 'createRoom', { timeoutMs: 20 }),
    ABORTED: () => mediaAt('ws://127.0.0.1:1').listRooms({ signal: AbortSignal.abort() }),
    BAD_RESPONSE: () => answered(html(200)),
    UPSTREAM_ERROR: () => answered(twirp(500, 'internal')),
    INTERNAL: () => brokenCore(),
  };

  async function answered(answer, method = 'createRoom', options = undefined) {
    const { media } = await serveMedia(answer);
    return roomCalls[method](media, options);
  }

  /** A call whose core throws, as it does after a panic. */
  function brokenCore() {
    const panic = () => {
      throw new Error('panicked');
    };
    return loadOverCore((name) => (/listRooms/i.test(name) ? panic : undefined)).media.listRooms();
  }

  test('of the types can occur, and is told here', () => {
    const types = fs.readFileSync(path.join(root, 'index.d.ts'), 'utf8');
    const union = /type MediaErrorCode =([^;]+);/.exec(types)[1];
    expect(Object.keys(occurrences).sort()).toEqual([...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code).sort());
  });

  const retryable = ['UNAVAILABLE', 'TIMEOUT', 'LIMIT_EXCEEDED'];
  test.each(Object.entries(occurrences))('%s', async (code, provoke) => {
    const error = await failureOf(provoke());
    expect(error).toMatchObject({ name: 'MediaError', code, retryable: retryable.includes(code) });
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toHaveProperty('status');
    expect(error).not.toHaveProperty('statusCode');
    // Lower case, but for a name that is written so.
    expect(error.message).toMatch(/^([a-z]|LiveKit|LIVEKIT_|MARAVILLA_)/);
  });
});

test('a call takes 10 seconds at most, where nothing else is said', async () => {
  const { outcome, tookMs } = await patient;
  expect(outcome.code).toBe('TIMEOUT');
  expect(tookMs).toBeGreaterThanOrEqual(9990);
  expect(tookMs).toBeLessThan(12_000);
});

describe('no secret and no token', () => {
  const texts = (error) => {
    const shown = [String(error), error.message, error.stack, JSON.stringify(error), JSON.stringify({ ...error })];
    for (let cause = error; cause !== undefined && cause !== null; cause = cause.cause) {
      shown.push(String(cause?.stack), inspect(cause, { depth: Infinity, showHidden: true, getters: true }));
    }
    return shown;
  };

  test('stands in any failure of this file', () => {
    expect(seen.length).toBeGreaterThan(250);
    for (const error of seen) {
      for (const text of texts(error)) {
        for (const secret of SECRETS) expect(text ?? '').not.toContain(secret);
      }
    }
  });

  test('is printed, however much is asked for', async () => {
    const echo = ({ headers, socket }) => whole(401, 'text/plain', `invalid token: ${headers.authorization}`)({ socket });
    const server = await serve(inTurn(echo, html(502), reset, reset, halfBody(reset), halfBody(reset), twirp(500, 'internal'), silence));
    const { code, stdout, stderr } = await runNode(
      `const { inspect } = require('util');
      const { createPlatform } = require(entry);
      const platform = createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret, timeoutMs: 200 })});
      const show = (value) => console.log(inspect(value, { depth: Infinity, showHidden: true, getters: true }), JSON.stringify(value), value);
      (async () => {
        show(platform);
        for (let call = 0; call < 6; call += 1) await platform.media.createRoom('room').catch((error) => (show(error), console.error(error)));
        for (const wrong of ['', '\\0', {}, null]) await platform.media.generateToken(wrong, { identity: 'ann', name: 'Ann' }).catch(show);
        try { createPlatform({ url: 'x', apiKey: 'k', apiSecret: ${JSON.stringify(`${apiSecret}\n`)} }); } catch (error) { show(error); }
        platform.media.createRoom('room');
      })();`,
      { env: { RUST_LOG: 'trace', RUST_BACKTRACE: 'full', NODE_DEBUG: 'http,net,tls' } },
    );
    // The last call is left unhandled, so that Node prints its failure too.
    expect(code).toBe(1);
    expect(stderr).toContain('MediaError');
    for (const secret of SECRETS) {
      expect(stdout).not.toContain(secret);
      expect(stderr).not.toContain(secret);
    }
  });
});
