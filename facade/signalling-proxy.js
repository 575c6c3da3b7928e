'use strict';

// Forwards signalling requests, which the app's HTTP server has received, to the engine's port.

const http = require('node:http');
const { pipeline } = require('node:stream');

/** Milliseconds without progress until the engine has responded. Past it the client gets 504. */
const RESPONSE_TIMEOUT_MS = 10_000;
/** Milliseconds without progress for which a connection stays open once one of its sides has ended. Past it, it is destroyed. */
const LINGER_MS = 5_000;
/** Maximum forwarded requests and connections of the process, as many as the engine accepts. Past it the client gets 503. */
const MAX_FORWARDED = 1024;

const METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);
// Everything else stays: cookies are the app's, and framing is that of one hop.
const REQUEST_HEADERS = [
  'accept',
  'access-control-request-headers',
  'access-control-request-method',
  'authorization',
  'origin',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
  'user-agent',
];
const RESPONSE_HEADERS = [
  'access-control-allow-headers',
  'access-control-allow-methods',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'access-control-max-age',
  'cache-control',
  'content-length',
  'content-type',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
  'vary',
  'x-content-type-options',
];

let forwarded = 0;

/**
 * Forwards a request for `path`. `locate` resolves with the engine's address, or with nothing while there is no engine.
 * @param {() => Promise<{ host: string, port: number } | undefined>} locate
 */
async function forwardRequest(locate, path, request, response) {
  const open = await prepare(locate, path, request, response);
  open?.(response, {});
}

/** As {@link forwardRequest}, for an upgrade: joins the two sockets if the engine accepts it. */
async function forwardUpgrade(locate, path, request, socket, head) {
  const response = responseOn(socket, request);
  if (response === undefined) return;
  if (request.headers.upgrade?.toLowerCase() !== 'websocket') return void refuse(response, 400, 'only WebSocket upgrades are served here');
  const open = await prepare(locate, path, request, response);
  if (open === undefined) return;
  const upstream = open(socket, { connection: 'Upgrade', upgrade: 'websocket' });
  upstream.once('upgrade', (reply, engine, engineHead) => {
    response.detachSocket(socket);
    const fields = Object.entries(pick(reply.headers, RESPONSE_HEADERS)).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n${fields.join('')}\r\n`);
    if (engineHead.length > 0) engine.unshift(engineHead);
    if (head.length > 0) socket.unshift(head);
    join(socket, engine);
  });
}

/**
 * Resolves with the function that sends the request to the engine, for a client with that stream; responds itself, and resolves with nothing, if
 * that is impossible.
 */
async function prepare(locate, path, request, response) {
  if (!METHODS.has(request.method)) return refuse(response, 405, 'use GET', { allow: [...METHODS].join(', ') });
  let address;
  try {
    address = await locate();
  } catch {
    // Without the reason, which names variables and ports: the client has not shown a token. The app's calls of media reject with it.
    return refuse(response, 503, 'the media engine is unavailable');
  }
  if (address === undefined) return refuse(response, 503, 'the media engine starts at the first call of media, and there was none yet');
  if (forwarded >= MAX_FORWARDED) return refuse(response, 503, 'too many connections');
  // The client has gone meanwhile.
  if (response.destroyed) return undefined;
  return (client, fields) => {
    const headers = { ...pick(request.headers, REQUEST_HEADERS), ...fields };
    const upstream = http.request({ ...address, agent: false, method: request.method, path, headers, timeout: RESPONSE_TIMEOUT_MS });
    // Only now, because http.request may throw.
    forwarded += 1;
    upstream.once('timeout', () => upstream.destroy(new TimeoutError()));
    // A connection must not keep the process alive; the client's may.
    upstream.once('socket', (socket) => socket.unref());
    upstream.once('response', (reply) => forwardResponse(reply, response));
    upstream.on('error', (error) => reject(response, error));
    client.once('close', () => {
      forwarded -= 1;
      upstream.destroy();
    });
    upstream.end();
    return upstream;
  };
}

class TimeoutError extends Error {}

function forwardResponse(reply, response) {
  response.writeHead(reply.statusCode, pick(reply.headers, RESPONSE_HEADERS));
  pipeline(reply, response, () => {});
}

function reject(response, error) {
  if (error instanceof TimeoutError) refuse(response, 504, 'the media engine did not respond');
  else refuse(response, 502, 'the media engine did not respond as expected');
}

/** Responds with an error, unless a response has begun. */
function refuse(response, status, text, fields = {}) {
  if (response.headersSent || response.destroyed) return void response.destroy();
  response.writeHead(status, { ...fields, 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}

function pick(headers, names) {
  const present = names.filter((name) => Object.hasOwn(headers, name));
  return Object.fromEntries(present.map((name) => [name, headers[name]]));
}

/**
 * A response on the socket of a request for an upgrade, for which Node.js makes none; it closes the socket. `undefined` if an earlier request on the
 * socket has no response yet: pipelining an upgrade is invalid, so the socket is closed.
 */
function responseOn(socket, request) {
  // Node.js listens no more, and an error without a listener ends the process.
  socket.on('error', () => {});
  if (socket._httpMessage) return void socket.destroy();
  const response = new http.ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => endSocket(socket));
  return response;
}

/** Ends a socket after what is written to it, and destroys it if the other side does not take that in time. */
function endSocket(socket) {
  socket.setTimeout(LINGER_MS, () => socket.destroy());
  socket.destroySoon();
}

/** Copies what each of two sockets receives to the other, until one of them ends. A slow side pauses the other. */
function join(client, engine) {
  for (const [from, to] of [[client, engine], [engine, client]]) {
    from.on('error', () => {});
    from.setTimeout(0);
    from.setNoDelay(true);
    from.pipe(to, { end: false });
    from.once('end', () => endSocket(to));
    from.once('close', () => endSocket(to));
  }
}

module.exports = { forwardRequest, forwardUpgrade };
