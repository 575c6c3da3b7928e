'use strict';

const { once } = require('node:events');
const http = require('node:http');

/**
 * @typedef {object} Seen A request that went through.
 * @property {string} host Where the client wanted it to go.
 * @property {string} path
 * @property {string} method The Twirp method, or `''`.
 * @property {Record<string, string | string[] | undefined>} headers
 * @property {any} claims What its token says.
 * @property {Buffer} body
 * @property {number} at When it came, in ms of this process.
 * @property {number} [answeredAt]
 * @property {number} [status]
 * @property {boolean} [brokenOff] The client went before it had the whole answer.
 */

/**
 * A proxy that looks on. Asked with a path it stands before `target`; asked with a whole URL it is a forward proxy, for
 * which every host is this machine.
 * @param {object} [options]
 * @param {string} [options.target] Address behind it.
 * @param {(path: string) => Record<string, string>} [options.add] Headers to put on each request.
 * @param {(path: string) => Record<string, string | undefined>} [options.answer] Headers to put on each answer.
 */
async function startProxy({ target, add = () => ({}), answer = () => ({}) } = {}) {
  let delayMs = 0;
  /** @type {Seen[]} */
  const requests = [];
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const wanted = new URL(/** @type {string} */ (request.url), target);
    const { host, port, pathname } = wanted;
    /** @type {Seen} */
    const seen = {
      host,
      path: pathname,
      method: pathname.match(/\/twirp\/livekit\.RoomService\/(\w+)$/)?.[1] ?? '',
      headers: { ...request.headers },
      claims: readClaims(request.headers.authorization),
      body: Buffer.alloc(0),
      at: performance.now(),
    };
    requests.push(seen);
    const headers = { ...request.headers, ...add(pathname) };
    const upstream = http.request({ host: '127.0.0.1', port, path: pathname, method: request.method, headers, agent });
    upstream.on('response', (answered) => {
      const held = setTimeout(() => {
        seen.answeredAt = performance.now();
        seen.status = answered.statusCode;
        response.writeHead(answered.statusCode ?? 502, { ...answered.headers, ...answer(pathname) });
        answered.pipe(response);
      }, delayMs);
      response.on('close', () => clearTimeout(held));
    });
    // What breaks behind the proxy breaks before it too.
    upstream.on('error', () => request.socket.destroy());
    response.on('close', () => {
      if (!response.writableFinished) seen.brokenOff = true;
      upstream.destroy();
    });
    request.on('data', (chunk) => (seen.body = Buffer.concat([seen.body, chunk])));
    request.pipe(upstream);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    /** Those of one Twirp method, or all. @param {string} [method] */
    requests: (method) => requests.filter((seen) => method === undefined || seen.method === method),
    /** Holds each answer back from now on. @param {number} ms */
    delay: (ms) => void (delayMs = ms),
    /** Forgets what it has seen. */
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
