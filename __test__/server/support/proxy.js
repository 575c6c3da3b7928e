'use strict';

const { once } = require('node:events');
const http = require('node:http');

/**
 * @typedef {object} ProxiedRequest
 * @property {string} host Destination of the client.
 * @property {string} path
 * @property {string} method The Twirp method, or `''`.
 * @property {Record<string, string | string[] | undefined>} headers
 * @property {any} claims Claims of the token.
 * @property {Buffer} body
 * @property {number} at Arrival, in ms of this process.
 * @property {number} [answeredAt]
 * @property {number} [status]
 * @property {boolean} [aborted] The client closed the connection before the end of the response.
 */

/**
 * A proxy that records requests. A request with a path goes to `target`; a request with a whole URL goes to that port of this machine.
 * @param {object} [options]
 * @param {string} [options.target] Address for requests with a path.
 * @param {(path: string) => Record<string, string>} [options.requestHeaders] Additional request headers.
 * @param {(path: string) => Record<string, string | undefined>} [options.responseHeaders] Additional response headers.
 */
async function startProxy({ target, requestHeaders = () => ({}), responseHeaders = () => ({}) } = {}) {
  let delayMs = 0;
  /** @type {ProxiedRequest[]} */
  const requests = [];
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const wanted = new URL(/** @type {string} */ (request.url), target);
    const { host, port, pathname } = wanted;
    /** @type {ProxiedRequest} */
    const record = {
      host,
      path: pathname,
      method: pathname.match(/\/twirp\/livekit\.RoomService\/(\w+)$/)?.[1] ?? '',
      headers: { ...request.headers },
      claims: readClaims(request.headers.authorization),
      body: Buffer.alloc(0),
      at: performance.now(),
    };
    requests.push(record);
    const headers = { ...request.headers, ...requestHeaders(pathname) };
    const upstream = http.request({ host: '127.0.0.1', port, path: pathname, method: request.method, headers, agent });
    upstream.on('response', (upstreamResponse) => {
      const held = setTimeout(() => {
        record.answeredAt = performance.now();
        record.status = upstreamResponse.statusCode;
        response.writeHead(upstreamResponse.statusCode ?? 502, { ...upstreamResponse.headers, ...responseHeaders(pathname) });
        upstreamResponse.pipe(response);
      }, delayMs);
      response.on('close', () => clearTimeout(held));
    });
    // A failed upstream connection closes the client's connection.
    upstream.on('error', () => request.socket.destroy());
    response.on('close', () => {
      if (!response.writableFinished) record.aborted = true;
      upstream.destroy();
    });
    request.on('data', (chunk) => (record.body = Buffer.concat([record.body, chunk])));
    request.pipe(upstream);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    /** Requests of one Twirp method, or all. @param {string} [method] */
    requests: (method) => requests.filter((record) => method === undefined || record.method === method),
    /** Delays all further responses. @param {number} ms */
    delay: (ms) => void (delayMs = ms),
    /** Removes all recorded requests. */
    clear: () => void requests.splice(0),
    async stop() {
      agent.destroy();
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

/** @param {string | undefined} authorization */
function readClaims(authorization) {
  const body = authorization?.match(/^Bearer [\w-]+\.([\w-]+)\.[\w-]+$/)?.[1];
  return body === undefined ? undefined : JSON.parse(Buffer.from(body, 'base64url').toString());
}

module.exports = { startProxy };
