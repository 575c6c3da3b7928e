'use strict';

// Sends requests to the server under test.

const { randomBytes } = require('node:crypto');
const http = require('node:http');
const https = require('node:https');
const { decodeResponse, encodeRequest } = require('./messages.js');
const { mint } = require('./token.js');

/**
 * @typedef {import('./responses.js').Response} Response
 * @typedef {import('./token.js').Token} Token
 * @typedef {{ url: string, apiKey: string, apiSecret: string }} Server
 */

/**
 * A request. `$room` in strings stands for a room name of its own.
 * @typedef {object} Request
 * @property {string} title
 * @property {string} [verb] Default: POST.
 * @property {string} [path] Default: that of the method.
 * @property {string} [method] A method of the room service.
 * @property {'json' | 'protobuf'} [encoding] Of the request and the response of a method; default: json.
 * @property {Record<string, any>} [message] The message of the method.
 * @property {string | Buffer | (() => Buffer)} [body] Instead of `message`.
 * @property {boolean} [mayBeReset] The server may reset the connection before its response is read: the request is then sent again.
 * @property {boolean} [chunked] The body is sent without Content-Length.
 * @property {Token} [token]
 * @property {'header' | 'query' | 'form'} [tokenIn] Default: header.
 * @property {Record<string, string | undefined>} [headers] In place of the defaults; `undefined` removes one.
 * @property {Record<string, any>} [room] Settings of the room, which is created before.
 * @property {boolean} [deleted] The room is deleted before.
 * @property {Response | import('../deviations.js').Deviating} expected
 */

/** @typedef {{ status: number, headers: http.IncomingHttpHeaders, body: Buffer, ms: number, token?: string }} Received */

const SERVICE = '/twirp/livekit.RoomService/';
/** Room names contain the run, so that runs don't see each other's rooms. All names have the same length. */
const ROOM_BYTES = 24;
const TYPES = { json: 'application/json', protobuf: 'application/protobuf' };
/** Requests in flight at the same time. */
const CONCURRENCY = 24;
/** Maximum attempts for a request whose connection may be reset. */
const MAX_ATTEMPTS = 5;

const newRun = () => `conformance-${randomBytes(4).toString('hex')}`;
/** @param {string} run @param {number} index */
const roomOf = (run, index) => `${run}-${String(index).padStart(3, '0')}`;

/** @returns {Server} */
function serverFromEnvironment() {
  const { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } = process.env;
  if (url && apiKey && apiSecret) return { url, apiKey, apiSecret };
  throw new Error('set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or run: node test-support/conformance.mjs engine');
}

/** Replaces `$room` in all strings. @param {any} value @param {string} room @returns {any} */
function fill(value, room) {
  if (typeof value === 'string') return value.replaceAll('$room', room);
  if (value === null || typeof value !== 'object' || value instanceof RegExp || Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return value.map((each) => fill(each, room));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fill(each, room)]));
}

/** As JSON, with bytes as base64. @param {object} message */
const toJson = (message) =>
  JSON.stringify(
    Object.fromEntries(Object.entries(message).map(([key, value]) => [key, Buffer.isBuffer(value) ? value.toString('base64') : value])),
  );

/** @param {Request} request @param {string} room @returns {string | Buffer | undefined} */
function bodyOf({ method, encoding, message, body }, room) {
  if (typeof body === 'function') return body();
  if (message === undefined) return fill(body, room);
  const filled = fill(message, room);
  return encoding === 'protobuf' ? encodeRequest(/** @type {string} */ (method), filled) : toJson(filled);
}

/**
 * Sends a request.
 * @param {Server} server
 * @param {Request} request
 * @param {string} room
 * @returns {Promise<Received>}
 */
async function send(server, request, room) {
  const { verb = 'POST', method, encoding = 'json', tokenIn = 'header', chunked } = request;
  const token = request.token && mint(server, fill(request.token, room));
  let path = fill(request.path ?? SERVICE + method, room);
  if (token && tokenIn === 'query') path += `${path.includes('?') ? '&' : '?'}access_token=${token}`;
  /** @type {Record<string, string | undefined>} */
  const headers = {
    ...(method && { 'content-type': TYPES[encoding] }),
    ...(token && tokenIn === 'header' && { authorization: `Bearer ${token}` }),
    ...(tokenIn === 'form' && { 'content-type': 'application/x-www-form-urlencoded' }),
    ...request.headers,
  };
  for (const name of Object.keys(headers)) if (headers[name] === undefined) delete headers[name];
  const body = tokenIn === 'form' ? `access_token=${token}` : bodyOf(request, room);
  if (body !== undefined && !chunked) headers['content-length'] = String(Buffer.byteLength(body));
  return { ...(await exchange(server.url, { method: verb, path, headers }, body)), token };
}

/**
 * @param {string} address
 * @param {http.RequestOptions} options
 * @param {string | Buffer} [body]
 * @returns {Promise<Received>}
 */
function exchange(address, options, body) {
  const { protocol, hostname, port } = new URL(address.replace(/^ws/, 'http'));
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const request = (protocol === 'https:' ? https : http).request({ hostname, port, agent: false, ...options }, (response) => {
      /** @type {Buffer[]} */
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response;
        resolve({ status, headers, body: Buffer.concat(parts), ms: performance.now() - begun });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/**
 * Decodes a response.
 * @param {Received} received
 * @param {Request} request
 * @returns {Response}
 */
function read({ status, headers, body }, { verb, method, encoding = 'json' }) {
  const type = headers['content-type'];
  if (status === 200 && method && type === TYPES[encoding]) {
    return { status, type, message: encoding === 'json' ? JSON.parse(body.toString()) : decodeResponse(method, body) };
  }
  if (type === TYPES.json && verb !== 'HEAD') return { status, type, error: JSON.parse(body.toString()) };
  return { status, type, text: body.toString() };
}

/**
 * Calls a method with all grants, and throws unless it succeeds.
 * @param {Server} server
 * @param {string} method
 * @param {Record<string, any>} message
 * @param {'json' | 'protobuf'} [encoding]
 */
async function call(server, method, message, encoding = 'json') {
  const video = { roomCreate: true, roomList: true, roomAdmin: true, room: message.room };
  /** @type {Request} */
  const request = { title: method, method, message, encoding, token: { video }, expected: { status: 200 } };
  const received = await send(server, request, '');
  if (received.status !== 200) throw new Error(`${method}: ${received.status} ${received.body}`);
  return read(received, request).message;
}

/** @param {Server} server @param {Request} request @param {string} name */
async function prepareAndSend(server, request, name) {
  if (request.room) await call(server, 'CreateRoom', { name, ...request.room });
  if (request.deleted) await call(server, 'DeleteRoom', { room: name });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send(server, request, name);
    } catch (error) {
      if (!request.mayBeReset || attempt === MAX_ATTEMPTS || !['ECONNRESET', 'EPIPE'].includes(error.code)) throw error;
    }
  }
}

/** The response to a request. @param {Map<Request, Received | { error: Error }>} received @param {Request} request @returns {Received} */
function responseTo(received, request) {
  const response = received.get(request);
  if (response === undefined || 'error' in response) throw response?.error ?? new Error('the request was not sent');
  return response;
}

/**
 * Sends all requests, each after its preparation.
 * @param {Server} server
 * @param {Request[]} requests
 * @param {string} run
 * @returns {Promise<Map<Request, Received | { error: Error }>>}
 */
async function sendAll(server, requests, run) {
  const received = new Map();
  const waiting = [...requests.entries()];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [index, request] = next;
      const name = roomOf(run, index);
      received.set(request, await prepareAndSend(server, request, name).catch((error) => ({ error })));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return received;
}

/** Deletes the rooms of a run. A room may have ended meanwhile, so any status is accepted. @param {Server} server @param {string} run */
async function cleanUp(server, run) {
  const { rooms } = await call(server, 'ListRooms', {});
  const token = { video: { roomCreate: true } };
  for (const { name } of /** @type {{ name: string }[]} */ (rooms)) {
    if (!name.startsWith(run) && name !== '') continue;
    await send(server, { title: 'clean up', method: 'DeleteRoom', message: { room: name }, token, expected: { status: 200 } }, '');
  }
}

/** The kind of the server, by its Server header. @param {Server} server @returns {Promise<'engine' | 'livekit'>} */
async function identify(server) {
  const { headers } = await send(server, { title: 'identify', verb: 'GET', path: '/', expected: { status: 200 } }, '');
  return String(headers.server).startsWith('maravilla-media/') ? 'engine' : 'livekit';
}

module.exports = { ROOM_BYTES, TYPES, call, cleanUp, exchange, fill, identify, newRun, read, responseTo, roomOf, send, sendAll, serverFromEnvironment };
