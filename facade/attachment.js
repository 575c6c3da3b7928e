'use strict';

// Serves an engine's signalling on HTTP servers of the app, so that clients need no second port.

// Registered, so that hot reload, a second copy of the package and the plugin for Vite find the attachment of the process's engine.
const SHARED = Symbol.for('@maravilla-labs/platform.attachment');

/** The paths that clients request: signalling, and the reason of a rejected join. The server API is not among them. */
const SIGNALLING_PATHS = ['/rtc', '/rtc/v1', '/rtc/validate', '/rtc/v1/validate'];

/** Milliseconds for which the engine's failure to start answers further requests. Past it, the next request starts it again. */
const FAILURE_MS = 1000;

/** The engine of a platform, and where it is served. */
class Attachment {
  /** The paths below which it is served, the latest last. */
  paths = [];
  /** Whether a server with the attachment is reachable from other machines. */
  isReachable = false;
  /** The engine's address, and what to do once clients come from other machines. @type {{ locate: () => Promise<{ host: string, port: number }>, onReachable: () => void } | undefined} */
  engine = undefined;
  /** The last failure of `engine`, and until when it counts. */
  #failure = { engine: undefined, error: undefined, until: 0 };

  /** The URL for a client that has loaded the app from `origin`; `undefined` if no server of the app serves it. */
  urlAt(origin) {
    const path = this.paths.at(-1);
    return path === undefined ? undefined : `${origin.replace(/^http/, 'ws')}${path}`;
  }

  /** Serves it on `server` below `mediaPath`, until the returned function is called or the server is closed. */
  attach(server, mediaPath) {
    const routes = routesOf(server);
    const locate = () => this.#locate();
    const paths = SIGNALLING_PATHS.map((path) => [`${mediaPath}${path}`, { path, locate }]);
    for (const [path, route] of paths) routes.byPath.set(path, route);
    this.paths.push(mediaPath);
    const onListening = () => this.#onListening(server);
    if (server.listening) onListening();
    server.on('listening', onListening);
    let isAttached = true;
    const detach = () => {
      if (!isAttached) return;
      isAttached = false;
      server.removeListener('listening', onListening);
      server.removeListener('close', detach);
      this.paths.splice(this.paths.lastIndexOf(mediaPath), 1);
      for (const [path, route] of paths) if (routes.byPath.get(path) === route) routes.byPath.delete(path);
      if (routes.byPath.size === 0) routes.remove();
    };
    server.once('close', detach);
    return detach;
  }

  /** The engine's address; starts it. Anyone may send requests, and a start blocks the event loop, so that a failed one is not repeated at once. */
  async #locate() {
    const { engine } = this;
    const last = this.#failure;
    if (engine !== undefined && engine === last.engine && performance.now() < last.until) throw last.error;
    try {
      return await engine?.locate();
    } catch (error) {
      this.#failure = { engine, error, until: performance.now() + FAILURE_MS };
      throw error;
    }
  }

  #onListening(server) {
    const address = server.address();
    if (this.isReachable || isLoopback(address?.address ?? '')) return;
    this.isReachable = true;
    this.engine?.onReachable();
  }
}

/** Behind a Unix socket there is a proxy, which may be reachable. */
const isLoopback = (address) => /^(?:::ffff:)?127\.|^::1$/.test(address);

/** The attachment of the process's shared engine, or a new one. @param {boolean} isShared @returns {Attachment} */
function attachmentOf(isShared) {
  return isShared ? (globalThis[SHARED] ??= new Attachment()) : new Attachment();
}

/** The routes of each server that something is attached to. */
const routers = new WeakMap();

/**
 * Takes the requests for attached paths before the listeners of the app, by wrapping `emit`: a listener of ours could not keep theirs from
 * responding too, and `ws` closes the socket of every upgrade for another path than its own.
 */
function routesOf(server) {
  const known = routers.get(server);
  if (known !== undefined) return known;
  // Loaded on demand, because most platforms are not attached to a server.
  const { forwardRequest, forwardUpgrade } = require('./signalling-proxy.js');
  const byPath = new Map();
  const hadOwnEmit = Object.hasOwn(server, 'emit');
  const { emit } = server;
  const wrapped = function (event, request, ...rest) {
    const isRequest = event === 'upgrade' || event === 'request';
    if (!isRequest || byPath.size === 0) return emit.call(this, event, request, ...rest);
    const [, path = '', query = ''] = /^([^?]*)(.*)$/s.exec(request.url ?? '') ?? [];
    const route = byPath.get(path);
    if (route !== undefined) {
      const forward = event === 'upgrade' ? forwardUpgrade : forwardRequest;
      forward(route.locate, route.path + query, request, ...rest).catch(() => request.destroy());
      return true;
    }
    // Without other listeners Node.js would have ignored the header, as of a request that offers HTTP/2.
    if (event === 'upgrade' && server.listenerCount('upgrade') === 1) return receiveAgain(server, request, rest[0], rest[1]);
    return emit.call(this, event, request, ...rest);
  };
  // Node.js emits upgrades only if something listens.
  const listener = () => {};
  server.emit = wrapped;
  server.on('upgrade', listener);
  const remove = () => {
    server.removeListener('upgrade', listener);
    routers.delete(server);
    if (server.emit !== wrapped) return;
    if (hadOwnEmit) server.emit = emit;
    else delete server.emit;
  };
  const routes = { byPath, remove };
  routers.set(server, routes);
  return routes;
}

/** Node.js drops further names and values of headers, without an error. */
const MAX_HEADER_PARTS = 2000;

/**
 * Passes a request to the server once more, without its offer to upgrade: for an upgrade Node.js parses no body, so that it is in `rest`, or not
 * received yet. The connection is closed after the response, so that this happens once for each.
 */
function receiveAgain(server, request, socket, rest) {
  const { rawHeaders } = request;
  const maxParts = typeof server.maxHeadersCount === 'number' ? 2 * server.maxHeadersCount : MAX_HEADER_PARTS;
  // If the length of the body may have been dropped, the body would be parsed as the next request. An earlier request on the socket that has no
  // response yet: pipelining an upgrade is invalid.
  if ((maxParts > 0 && rawHeaders.length >= maxParts) || socket._httpMessage) {
    // Node.js listens no more, and an error without a listener ends the process.
    socket.on('error', () => {});
    return void socket.destroy();
  }
  let head = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\nConnection: close\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!/^(?:connection|upgrade)$/i.test(rawHeaders[i])) head += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  }
  socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), rest]));
  return server.emit(server.listenerCount('secureConnection') > 0 ? 'secureConnection' : 'connection', socket);
}

module.exports = { attachmentOf };
