'use strict';

// Responses of a server, valid and invalid: error codes, size limits and retries.

require('./support/environment.js');
const { once } = require('node:events');
const { resultOf } = require('./support/child.js');
const { failureOf } = require('./support/faults.js');
const { PROTOBUF, endless, healthy, html, inTurn, livekit, protobuf, reset, roomOf, twirp, whole } = require('./support/fault-server.js');
const { apiKey, apiSecret, roomCalls } = require('./support/media.js');
const { serve, serveMedia } = require('./support/serve.js');

const MIB = 1024 * 1024;

describe('a response', () => {
  const echo = ({ headers, socket }) => whole(401, 'text/plain', `invalid token: ${headers.authorization}, error: go-jose`)({ socket });
  /** @type {[string, import('./support/fault-server.js').Responder, object][]} */
  const responses = [
    ['200 of HTML', html(200), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 of JSON', whole(200, 'application/json', '{"sid":"RM","name":"room"}'), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 with an empty body', whole(200, '', ''), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 without a room', whole(200, PROTOBUF, ''), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 with invalid protobuf', whole(200, PROTOBUF, Buffer.from('ffffffffffffff', 'hex')), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 with truncated protobuf', whole(200, PROTOBUF, roomOf('room').toBinary().subarray(0, -3)), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['200 with the name of another room', protobuf(roomOf('another')), { code: 'BAD_RESPONSE', upstreamStatus: 200 }],
    ['204', whole(204, '', ''), { code: 'BAD_RESPONSE', upstreamStatus: 204 }],
    ['500 of HTML', html(500), { code: 'BAD_RESPONSE', upstreamStatus: 500 }],
    ['404 of text', whole(404, 'text/plain', '404 page not found'), { code: 'BAD_RESPONSE', upstreamStatus: 404 }],
    ['400 of HTML', html(400), { code: 'BAD_RESPONSE', upstreamStatus: 400 }],
    ['401 that echoes the token', echo, { code: 'UNAUTHENTICATED', upstreamStatus: 401 }],
    ['401 with an empty body', whole(401, '', ''), { code: 'UNAUTHENTICATED', upstreamStatus: 401 }],
    ['401 unauthenticated', twirp(401, 'unauthenticated'), { code: 'PERMISSION_DENIED', upstreamStatus: 401 }],
    ['403 permission_denied', twirp(403, 'permission_denied'), { code: 'PERMISSION_DENIED', upstreamStatus: 403 }],
    ['403 of HTML', html(403), { code: 'PERMISSION_DENIED', upstreamStatus: 403 }],
    ['451', whole(451, 'text/plain', 'project not allowed in this region'), { code: 'PERMISSION_DENIED', upstreamStatus: 451 }],
    ['404 bad_route', twirp(404, 'bad_route'), { code: 'UPSTREAM_ERROR', upstreamStatus: 404, twirpCode: 'bad_route' }],
    ['400 invalid_argument', twirp(400, 'invalid_argument'), { code: 'UPSTREAM_ERROR', upstreamStatus: 400, twirpCode: 'invalid_argument' }],
    ['412 failed_precondition', twirp(412, 'failed_precondition'), { code: 'UPSTREAM_ERROR', upstreamStatus: 412, twirpCode: 'failed_precondition' }],
    ['500 internal', twirp(500, 'internal'), { code: 'UPSTREAM_ERROR', upstreamStatus: 500, twirpCode: 'internal' }],
    ['501 unimplemented', twirp(501, 'unimplemented'), { code: 'UPSTREAM_ERROR', upstreamStatus: 501, twirpCode: 'unimplemented' }],
    ['413', whole(413, 'text/plain', 'request body too large'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 413 }],
    ['413 resource_exhausted', twirp(413, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 413 }],
    ['403 resource_exhausted, from older servers', twirp(403, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', upstreamStatus: 403 }],
    ['429 resource_exhausted', twirp(429, 'resource_exhausted'), { code: 'LIMIT_EXCEEDED', retryable: true, upstreamStatus: 429 }],
    ['429 of HTML', html(429), { code: 'LIMIT_EXCEEDED', retryable: true, upstreamStatus: 429 }],
    ['500 unknown, if no node is free', twirp(500, 'unknown'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 500 }],
    ['408 deadline_exceeded, if a node is silent', twirp(408, 'deadline_exceeded'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 408 }],
    ['408 canceled, if a node shuts down', twirp(408, 'canceled'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 408 }],
    ['502 of HTML', html(502), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 502 }],
    ['502 with an empty body', whole(502, '', ''), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 502 }],
    ['503 unavailable', twirp(503, 'unavailable'), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 503 }],
    ['503 of HTML', html(503), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 503 }],
    ['504 of HTML', html(504), { code: 'UNAVAILABLE', retryable: true, upstreamStatus: 504 }],
  ];

  test.each(responses)('%s has its error code, and is not retried', async (_, answer, { twirpCode, ...expected }) => {
    const { server, media } = await serveMedia(answer);
    const error = await failureOf(media.createRoom('room'));
    expect(error).toMatchObject({ operation: 'createRoom', retryable: false, requestId: server.requests[0].id, ...expected });
    if (twirpCode) expect(error.message).toContain(twirpCode);
    expect(server.requests).toHaveLength(1);
  });

  // An empty protobuf message is valid for some methods; these responses are invalid for all.
  const invalid = { HTML: html(200), 'an empty body': whole(200, '', ''), 'invalid protobuf': whole(200, PROTOBUF, Buffer.from('ffffffffffffff', 'hex')) };
  test.each(Object.keys(roomCalls).flatMap((method) => Object.entries(invalid).map(([name, answer]) => [method, name, answer])))(
    '%s rejects %s with BAD_RESPONSE',
    async (method, _, answer) => {
      const { media } = await serveMedia(answer);
      expect(await failureOf(roomCalls[method](media))).toMatchObject({ code: 'BAD_RESPONSE', operation: method, retryable: false });
    },
  );

  test('with an empty message is valid for methods whose message can be empty', async () => {
    const { media } = await serveMedia(whole(200, PROTOBUF, ''));
    expect(await media.deleteRoom('room')).toBeUndefined();
    expect(await media.removeParticipant('room', 'ann')).toEqual({ tokensRevoked: false });
    expect(await media.sendData('room', 'hello')).toBeUndefined();
    expect(await media.getRoom('room')).toBeNull();
    expect(await media.listRooms()).toEqual([]);
    expect(await media.listParticipants('room')).toEqual([]);
  });

  test('in pieces, chunked, after an interim response, or until the end of the connection is read', async () => {
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

  test.each([301, 302, 303, 307, 308])('%i is not followed', async (status) => {
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
  ])('of %s is BAD_RESPONSE', async (_, banner) => {
    const { media } = await serveMedia(({ socket }) => socket.end(banner));
    expect(await failureOf(media.createRoom('room'))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false });
  });
});

describe('a response that takes more memory than its size', () => {
  // Two bytes per element: a room or participant without fields.
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

  test.each(['deleteRoom', 'removeParticipant', 'sendData'])('%s, whose response is empty, rejects more than 64 KiB', async (method) => {
    const { media } = await serveMedia(emptyElements(64 * 1024 + 2));
    expect(await failureOf(roomCalls[method](media))).toMatchObject({ code: 'BAD_RESPONSE', retryable: false });
  });

  test('a result longer than 64 MiB of JSON is LIMIT_EXCEEDED', async () => {
    // A control character takes six bytes in JSON.
    const participant = new livekit.ParticipantInfo({ identity: 'ann', metadata: '\0'.repeat(11 * MIB) });
    const { media } = await serveMedia(protobuf(new livekit.ListParticipantsResponse({ participants: [participant] })));
    expect(await failureOf(media.listParticipants('room'))).toMatchObject({ code: 'LIMIT_EXCEEDED', retryable: false });
  });

  test('12 long lists at once all succeed, though fewer are decoded at a time', async () => {
    const rooms = Array.from({ length: 10_000 }, (_, i) => roomOf(`room-${i}`, { metadata: 'm'.repeat(200) }));
    const { media } = await serveMedia(protobuf(new livekit.ListRoomsResponse({ rooms })));
    const lists = await Promise.all(Array.from({ length: 12 }, () => media.listRooms({ timeoutMs: 60_000 })));
    expect(lists.map((list) => list.length)).toEqual(Array(12).fill(10_000));
  });
});

describe('not_found', () => {
  const missing = twirp(404, 'not_found');

  test('is a success for deleteRoom', async () => {
    const { media } = await serveMedia(missing);
    expect(await media.deleteRoom('room')).toBeUndefined();
  });

  test('is a success for the retry of removeParticipant, because the first request may have succeeded', async () => {
    const { server, media } = await serveMedia(inTurn(reset, missing));
    expect(await media.removeParticipant('room', 'ann')).toEqual({ tokensRevoked: false });
    expect(server.requests).toHaveLength(2);
  });

  test.each([
    ['createRoom', 'ROOM_NOT_FOUND'],
    ['listParticipants', 'ROOM_NOT_FOUND'],
    ['updateRoom', 'ROOM_NOT_FOUND'],
    ['sendData', 'ROOM_NOT_FOUND'],
    ['updateParticipant', 'PARTICIPANT_NOT_FOUND'],
    ['muteParticipant', 'PARTICIPANT_NOT_FOUND'],
    ['removeParticipant', 'PARTICIPANT_NOT_FOUND'],
    ['listRooms', 'UPSTREAM_ERROR'],
    ['getRoom', 'UPSTREAM_ERROR'],
  ])('of %s is %s', async (method, code) => {
    const { server, media } = await serveMedia(missing, { roomPrefix: 'app:' });
    const error = await failureOf(roomCalls[method](media));
    expect(error).toMatchObject({ code, operation: method, retryable: false, upstreamStatus: 404, requestId: server.requests[0].id });
    expect(error.message).not.toContain('app:');
  });
});

describe('deleteRoom of a room whose node is gone', () => {
  const gone = twirp(503, 'unavailable');
  const methods = (server) => server.requests.map(({ method }) => method);

  test('creates the room again and deletes it', async () => {
    const { server, media } = await serveMedia(inTurn(gone, healthy(), healthy()), { roomPrefix: 'app:' });
    await media.deleteRoom('room');
    expect(methods(server)).toEqual(['DeleteRoom', 'CreateRoom', 'DeleteRoom']);
    expect(server.requests.map(({ room }) => room)).toEqual(['app:room', 'app:room', 'app:room']);
  });

  test('is UNAVAILABLE if no node is available', async () => {
    const { server, media } = await serveMedia(gone);
    expect(await failureOf(media.deleteRoom('room'))).toMatchObject({ code: 'UNAVAILABLE', operation: 'deleteRoom', retryable: true });
    expect(methods(server)).toEqual(['DeleteRoom', 'CreateRoom']);
  });

  test('does not create the room after a 503 of a proxy', async () => {
    const { server, media } = await serveMedia(html(503));
    expect((await failureOf(media.deleteRoom('room'))).code).toBe('UNAVAILABLE');
    expect(methods(server)).toEqual(['DeleteRoom']);
  });
});

describe('a response of a gigabyte', () => {
  const cases = [
    ['with Content-Length, from createRoom', { status: 200, contentLength: true }, 'createRoom', 'BAD_RESPONSE', 32],
    ['chunked, from createRoom', { status: 200, contentLength: false }, 'createRoom', 'BAD_RESPONSE', 32],
    ['with Content-Length, from listRooms', { status: 200, contentLength: true }, 'listRooms', 'BAD_RESPONSE', 128],
    ['chunked, from listRooms', { status: 200, contentLength: false }, 'listRooms', 'BAD_RESPONSE', 128],
    ['with Content-Length, in an error response', { status: 502, contentLength: true }, 'createRoom', 'UNAVAILABLE', 32],
    ['chunked, in an error response', { status: 502, contentLength: false }, 'createRoom', 'UNAVAILABLE', 32],
    ['chunked, in a text error response', { status: 401, contentLength: false, type: 'text/plain' }, 'createRoom', 'UNAUTHENTICATED', 32],
  ];

  test.each(cases)('%s, is not read whole', async (_, { status, ...how }, method, code, maxMiB) => {
    const flow = endless(status, how);
    const { server, media } = await serveMedia(flow);
    const before = process.memoryUsage.rss();
    const closed = once(server, 'closed');
    expect((await failureOf(roomCalls[method](media))).code).toBe(code);
    await closed;
    expect(flow.written).toBeLessThan(maxMiB * 2 ** 20);
    expect(process.memoryUsage.rss() - before).toBeLessThan(maxMiB * 2 ** 20);
  });

  test('of headers is not read whole', async () => {
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
