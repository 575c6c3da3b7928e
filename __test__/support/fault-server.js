'use strict';

// A server that can fail at any byte: it reads whole requests, and the test decides on the response. It writes to the socket itself, because
// an HTTP library would not send invalid responses.

const { EventEmitter, once } = require('node:events');
const net = require('node:net');
const tls = require('node:tls');
const livekit = require('@livekit/protocol');

/**
 * @typedef {object} Exchange a request, and its socket for the response
 * @property {string} line the request line
 * @property {string} target
 * @property {string} method the RPC, such as `CreateRoom`
 * @property {Record<string, string>} headers names in lower case
 * @property {string | undefined} id the request id
 * @property {any} message the request, decoded
 * @property {string | undefined} room
 * @property {net.Socket & { served: number }} socket
 */

/** @typedef {(exchange: Exchange) => unknown} Responder */

const REQUESTS = {
  CreateRoom: livekit.CreateRoomRequest,
  DeleteRoom: livekit.DeleteRoomRequest,
  ListRooms: livekit.ListRoomsRequest,
  ListParticipants: livekit.ListParticipantsRequest,
  RemoveParticipant: livekit.RoomParticipantIdentity,
  UpdateRoomMetadata: livekit.UpdateRoomMetadataRequest,
  GetParticipant: livekit.RoomParticipantIdentity,
  UpdateParticipant: livekit.UpdateParticipantRequest,
  MutePublishedTrack: livekit.MuteRoomTrackRequest,
  SendData: livekit.SendDataRequest,
};

class FaultServer extends EventEmitter {
  /** @type {Exchange[]} */
  requests = [];
  /** @type {Set<net.Socket>} */
  open = new Set();
  connections = 0;
  /** Whether requests are kept in `requests`; off in tests with thousands. */
  remember = true;
  /** @type {Responder} */
  respond = healthy();

  /**
   * Starts a server on a free loopback port.
   * @param {Responder} [respond]
   * @param {{ key: Buffer, cert: Buffer }} [certificate] uses TLS if given
   */
  static async start(respond, certificate) {
    const server = new FaultServer();
    if (respond) server.respond = respond;
    const accept = (socket) => server.#read(socket);
    server.listener = certificate ? tls.createServer(certificate, accept) : net.createServer(accept);
    server.listener.on('connection', (socket) => server.#count(socket));
    server.listener.on('tlsClientError', () => {});
    server.listener.listen(0, '127.0.0.1');
    await once(server.listener, 'listening');
    server.port = server.listener.address().port;
    server.url = `http${certificate ? 's' : ''}://127.0.0.1:${server.port}`;
    return server;
  }

  async close() {
    this.listener.close();
    for (const socket of this.open) socket.destroy();
    await once(this.listener, 'close');
  }

  /**
   * Waits until `count` requests have arrived; gives the last one.
   * @param {number} count
   */
  async received(count) {
    while (this.requests.length < count) await once(this, 'request');
    return this.requests[count - 1];
  }

  #count(socket) {
    this.connections += 1;
    this.open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.open.delete(socket);
      this.emit('closed', socket);
    });
    this.emit('connected', socket);
  }

  #read(socket) {
    socket.on('error', () => {});
    socket.setNoDelay?.(true);
    socket.served = 0;
    let pending = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      // HTTP servers respond with 400 to a TLS ClientHello.
      if (!/[A-Z]/.test(String.fromCharCode(pending[0]))) return socket.end(head(400, { Connection: 'close' }));
      for (;;) {
        const end = pending.indexOf('\r\n\r\n');
        if (end < 0) return undefined;
        const [line, ...fields] = pending.toString('latin1', 0, end).split('\r\n');
        const headers = Object.fromEntries(fields.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 1).trim()]));
        const whole = end + 4 + Number(headers['content-length'] ?? 0);
        if (pending.length < whole) return undefined;
        const body = pending.subarray(end + 4, whole);
        pending = pending.subarray(whole);
        this.#take(exchangeOf(line, headers, body, socket));
        if (pending.length === 0) return undefined;
      }
    });
  }

  #take(exchange) {
    exchange.socket.served += 1;
    if (this.remember) this.requests.push(exchange);
    this.respond(exchange);
    this.emit('request', exchange);
  }
}

function exchangeOf(line, headers, body, socket) {
  const target = line.split(' ')[1];
  const method = target.split('/').at(-1);
  const message = REQUESTS[method]?.fromBinary(body);
  return { line, target, method, headers, id: headers['x-livekit-request-id'], message, room: message?.room ?? message?.name, socket };
}

/** Status line and headers of a response. */
function head(status, fields) {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Status\r\n${lines.join('')}\r\n`;
}

const PROTOBUF = 'application/protobuf';

/**
 * A complete response.
 * @param {number} status
 * @param {string} type
 * @param {string | Uint8Array} body
 * @param {Record<string, string>} [fields]
 * @returns {Responder}
 */
function whole(status, type, body, fields = {}) {
  const bytes = Buffer.from(body);
  const start = Buffer.from(head(status, { ...(type && { 'Content-Type': type }), 'Content-Length': bytes.length, ...fields }));
  const response = Buffer.concat([start, bytes]);
  return ({ socket }) => socket.write(response);
}

/** A response with a message. */
const protobuf = (message) => whole(200, PROTOBUF, message.toBinary());
/** A Twirp error. */
const twirp = (status, code) => whole(status, 'application/json', JSON.stringify({ code, msg: `test error: ${code}` }));
const html = (status) => whole(status, 'text/html', '<!doctype html><h1>Something else</h1>');

/** Successful responses to all methods. */
function healthy() {
  const responders = {
    CreateRoom: ({ message }) => protobuf(roomOf(message.name, message)),
    DeleteRoom: () => protobuf(new livekit.DeleteRoomResponse()),
    ListRooms: () => protobuf(new livekit.ListRoomsResponse()),
    ListParticipants: () => protobuf(new livekit.ListParticipantsResponse()),
    RemoveParticipant: () => protobuf(new livekit.RemoveParticipantResponse()),
    UpdateRoomMetadata: ({ message }) => protobuf(roomOf(message.room, message)),
    GetParticipant: ({ message }) => protobuf(participantOf(message.identity)),
    UpdateParticipant: ({ message }) => protobuf(participantOf(message.identity, message)),
    MutePublishedTrack: ({ message }) => protobuf(new livekit.MuteRoomTrackResponse({ track: { sid: message.trackSid, muted: true } })),
    SendData: () => protobuf(new livekit.SendDataResponse()),
  };
  return (exchange) => (responders[exchange.method]?.(exchange) ?? twirp(404, 'bad_route'))(exchange);
}

function roomOf(name, { maxParticipants = 0, emptyTimeout = 300, departureTimeout = 20, metadata = '' } = {}) {
  return new livekit.Room({
    sid: 'RM_test',
    name,
    maxParticipants,
    emptyTimeout,
    departureTimeout,
    metadata,
    creationTime: 1_700_000_000n,
    creationTimeMs: 1_700_000_000_123n,
    turnPassword: 'turn-password-of-the-server',
  });
}

function participantOf(identity, { name = 'Ann', metadata = '', attributes = {}, permission = undefined, tracks = [] } = {}) {
  const granted = new livekit.ParticipantPermission({ canPublish: true, canSubscribe: true, canPublishData: true });
  return new livekit.ParticipantInfo({ sid: 'PA_test', identity, name, metadata, attributes, state: 2, joinedAt: 1_700_000_000n, permission: permission ?? granted, tracks });
}

/** One response per request, in order; the last one is repeated. */
function inTurn(...responders) {
  let next = 0;
  return (exchange) => responders[Math.min(next++, responders.length - 1)](exchange);
}

/** Holds responses until the test releases them. */
function held(respond = healthy()) {
  const waiting = [];
  const hold = (exchange) => waiting.push(exchange);
  return Object.assign(hold, {
    waiting,
    releaseOne: () => respond(waiting.shift()),
    releaseAll: () => waiting.splice(0).forEach(respond),
  });
}

/** @type {Responder} */
const silence = () => {};
/** @type {Responder} */
const reset = ({ socket }) => socket.resetAndDestroy();

const afterwards = (text, then) => (exchange) => exchange.socket.write(text, () => then(exchange));
const HALF_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/pro';
const HALF_BODY = head(200, { 'Content-Type': PROTOBUF, 'Content-Length': 100 }) + '\n\u0004half';
/** Part of a response, and then silence, a reset or a FIN. */
const halfHead = (then) => afterwards(HALF_HEAD, then);
const halfBody = (then) => afterwards(HALF_BODY, then);
/** @type {Responder} */
const end = ({ socket }) => socket.end();

/**
 * A body of up to `max` bytes that is written as fast as it is read. `written`: bytes so far.
 * @param {number} status
 * @param {{ contentLength: boolean, type?: string, max?: number }} how
 */
function endless(status, { contentLength, type = PROTOBUF, max = 2 ** 30 }) {
  const size = 64 * 1024;
  const piece = contentLength ? Buffer.alloc(size) : Buffer.from(`${size.toString(16)}\r\n${'\0'.repeat(size)}\r\n`);
  const flow = ({ socket }) => {
    socket.write(head(status, { 'Content-Type': type, ...(contentLength ? { 'Content-Length': max } : { 'Transfer-Encoding': 'chunked' }) }));
    const more = () => {
      while (flow.written < max && !socket.destroyed) {
        flow.written += size;
        if (!socket.write(piece)) return socket.once('drain', more);
      }
    };
    more();
  };
  return Object.assign(flow, { written: 0 });
}

module.exports = { FaultServer, PROTOBUF, end, endless, halfBody, halfHead, head, healthy, held, html, inTurn, livekit, participantOf, protobuf, reset, roomOf, silence, twirp, whole };
