'use strict';

// media.attach: the engine's signalling on an HTTP server of the app.

require('./support/environment.js');
const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const { ClientInfo, JoinRequest, SignalResponse, WrappedJoinRequest } = require('@livekit/protocol');
const WebSocket = require('ws');
const { eventually } = require('../test-support/eventually.js');
const { loadOverCore } = require('./support/broken-core.js');
const { certificates } = require('./support/certificates.js');
const { ann, openEmbedded } = require('./support/embedded.js');
const { failureOf } = require('./support/failure.js');
const { mediaAt } = require('./support/media.js');
const { cleanUp } = require('./support/serve.js');
const { readToken } = require('./support/token.js');

/** An app's server on loopback, until the end of the test. Its own response names the method and path of the request. */
async function serveApp({ create = http.createServer, host = '127.0.0.1', listener = (request, response) => void response.end(`app ${request.method} ${request.url}`) } = {}) {
  const server = create(listener).listen(0, host);
  await once(server, 'listening');
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  cleanUp(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const scheme = server instanceof https.Server ? 'https' : 'http';
  return { server, origin: `${scheme}://${host}:${/** @type {net.AddressInfo} */ (server.address()).port}` };
}

/** Such a server with an engine attached. */
async function serveAttached(options) {
  const platform = openEmbedded();
  const app = await serveApp();
  const detach = await platform.media.attach(app.server, options);
  return { platform, media: platform.media, detach, ...app };
}

function joinRequest() {
  const joinRequest = new JoinRequest({ clientInfo: new ClientInfo({ protocol: 16 }) }).toBinary();
  return encodeURIComponent(Buffer.from(new WrappedJoinRequest({ joinRequest }).toBinary()).toString('base64'));
}

/** The first message of the engine to a client with that token. @param {string} url */
async function joinAt(url, token, { path = '/rtc', ...options } = {}) {
  // Of the newer path all parameters are one message.
  const query = path === '/rtc' ? 'protocol=9&auto_subscribe=1' : `join_request=${joinRequest()}`;
  const socket = new WebSocket(`${url}${path}?access_token=${token}&${query}`, options);
  cleanUp(() => socket.terminate());
  const [data] = await once(socket, 'message');
  return { socket, message: SignalResponse.fromBinary(data).message.case };
}

const textOf = async (url, options) => {
  const response = await fetch(url, options);
  return [response.status, await response.text()];
};

/** A server that stands for the engine; each connection is passed to `accept`. */
async function serveAsEngine(accept) {
  const engine = net.createServer((socket) => {
    socket.on('error', () => {});
    cleanUp(() => socket.destroy());
    accept(socket);
  });
  await once(engine.listen(0, '127.0.0.1'), 'listening');
  cleanUp(() => engine.close());
  const { port } = /** @type {net.AddressInfo} */ (engine.address());
  const { platform, media } = loadOverCore((name) => (name === 'enginePort' ? () => String(port) : undefined), { provider: 'embedded' });
  cleanUp(() => platform.close());
  const app = await serveApp();
  await media.attach(app.server);
  return app;
}

/** A connection on which `text` is sent. Resolves with all that it receives. */
function send(origin, text) {
  const { hostname, port } = new URL(origin);
  const socket = net.connect(Number(port), hostname, () => socket.write(text));
  cleanUp(() => socket.destroy());
  socket.on('error', () => {});
  let received = '';
  socket.setEncoding('latin1').on('data', (data) => (received += data));
  return { socket, received: once(socket, 'close').then(() => received) };
}

const upgradeOf = (path, fields = '') =>
  `GET ${path} HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${fields}\r\n`;
const ACCEPTED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

describe('a client joins', () => {
  test.each(['/rtc', '/rtc/v1'])('through the server of the app, at %s', async (path) => {
    const { media, origin } = await serveAttached();
    const { token, url } = await media.generateToken('room', ann, { origin });
    expect(url).toBe(`${origin.replace('http', 'ws')}/media`);
    const { message } = await joinAt(url, token, { path });
    expect(message).toBe('join');
  });

  test('through an https server', async () => {
    const { here, authorityFile } = certificates();
    const { media } = openEmbedded();
    const { server, origin } = await serveApp({ create: (listener) => https.createServer(here, listener) });
    await media.attach(server);
    const { token, url } = await media.generateToken('room', ann, { origin });
    expect(url).toBe(`${origin.replace('https', 'wss')}/media`);
    const ca = require('node:fs').readFileSync(authorityFile);
    expect((await joinAt(url, token, { ca })).message).toBe('join');
    expect((await media.listParticipants('room')).map(({ identity }) => identity)).toEqual(['ann']);
  });

  test('is disconnected when it joins again, and the second connection stays', async () => {
    const { media, origin } = await serveAttached();
    const { token, url } = await media.generateToken('room', ann, { origin });
    const first = await joinAt(url, token);
    const closed = once(first.socket, 'close');
    const second = await joinAt(url, token);
    await closed;
    expect(second.socket.readyState).toBe(WebSocket.OPEN);
  });

  test('is disconnected when the engine is closed', async () => {
    const { platform, media, origin } = await serveAttached();
    const { token, url } = await media.generateToken('room', ann, { origin });
    const { socket } = await joinAt(url, token);
    const closed = once(socket, 'close');
    await platform.close();
    await closed;
    expect(await textOf(`${origin}/media/rtc/validate?access_token=${token}`)).toEqual([503, 'the media engine is unavailable']);
  });
});

describe('a validation request', () => {
  test('responds as the engine does', async () => {
    const { media, origin } = await serveAttached();
    const { token } = await media.generateToken('room', ann);
    const engine = (await media.mediaUrl()).replace('ws', 'http');
    for (const path of ['/rtc/validate', '/rtc/v1/validate']) {
      for (const query of [`?access_token=${token}`, '?access_token=wrong', '']) {
        const direct = await textOf(`${engine}${path}${query}`);
        expect([path, query, await textOf(`${origin}/media${path}${query}`)]).toEqual([path, query, direct]);
      }
    }
  });

  test('gets 405 for a method that clients do not use, and the body is not forwarded', async () => {
    const { origin } = await serveAttached();
    expect(await textOf(`${origin}/media/rtc/validate`, { method: 'POST', body: 'text' })).toEqual([405, 'use GET']);
  });

  test('starts the engine', async () => {
    const { origin } = await serveAttached();
    expect((await textOf(`${origin}/media/rtc/validate`))[0]).toBe(401);
  });
});

describe('other requests', () => {
  test('are the app\'s, before and after it is detached', async () => {
    const { detach, origin } = await serveAttached();
    for (const path of ['/', '/media', '/media/logo.png', '/media/rtc/other', '/media/twirp/livekit.RoomService/ListRooms', '/rtc', '/media//rtc', '/Media/rtc']) {
      expect(await textOf(origin + path)).toEqual([200, `app GET ${path}`]);
    }
    detach();
    detach();
    expect(await textOf(`${origin}/media/rtc/validate`)).toEqual([200, 'app GET /media/rtc/validate']);
  });

  test('to upgrade are those of the app\'s own WebSocket servers, added before and after', async () => {
    const { server, origin } = await serveApp();
    const echo = (path) => new WebSocket.Server({ server, path }).on('connection', (socket) => socket.on('message', (data) => socket.send(`${path} ${data}`)));
    const first = echo('/chat');
    // `ws` closes the socket of an upgrade for another path, so that there can be only one of its servers.
    const { media } = openEmbedded();
    await media.attach(server);
    cleanUp(() => first.close());
    const { token, url } = await media.generateToken('room', ann, { origin });
    const client = new WebSocket(`${origin.replace('http', 'ws')}/chat`, { headers: { 'x-test': '1' } });
    client.on('open', () => client.send('hello'));
    const [data] = await once(client, 'message');
    client.terminate();
    expect(String(data)).toBe('/chat hello');
    const { message, socket } = await joinAt(url, token);
    expect(message).toBe('join');
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  test('that offer an upgrade which nothing listens for get the app\'s response', async () => {
    const { origin } = await serveAttached();
    const { received } = send(origin, 'GET /page HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n');
    expect(await received).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*app GET \/page/);
  });

  describe('that offer an upgrade which nothing listens for, and have a body,', () => {
    const OFFER = 'Host: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';
    /** @type {http.RequestListener} */
    const echo = async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      response.end(`app ${request.method} ${request.url} ${request.headers['x-name']} ${Buffer.concat(chunks)}`);
    };
    const serveEcho = async () => {
      const { media } = openEmbedded();
      const app = await serveApp({ listener: echo });
      await media.attach(app.server);
      return app;
    };

    test.each([
      ['of a known length', 'Content-Length: 20\r\n', 'twenty bytes of text'],
      ['in chunks', 'Transfer-Encoding: chunked\r\n', '6\r\ntwenty\r\ne\r\n bytes of text\r\n0\r\n\r\n'],
    ])('reach the app with it: %s', async (_, framing, body) => {
      const { origin } = await serveEcho();
      const { received } = send(origin, `POST /page HTTP/1.1\r\n${OFFER}X-Name: é\r\n${framing}\r\n${body}`);
      expect(await received).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*app POST \/page \S+ twenty bytes of text/);
    });

    test('reach the app with the part that arrives later', async () => {
      const { server, origin } = await serveEcho();
      const requested = once(server, 'request');
      const { socket, received } = send(origin, `POST /page HTTP/1.1\r\n${OFFER}Content-Length: 20\r\n\r\ntwenty`);
      await requested;
      socket.write(' bytes of text');
      expect(await received).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*twenty bytes of text/);
    });

    test('reach an https server', async () => {
      const { here, authorityFile } = certificates();
      const { media } = openEmbedded();
      const { server, origin } = await serveApp({ create: (listener) => https.createServer(here, listener), listener: echo });
      await media.attach(server);
      const request = https.request(`${origin}/page`, {
        ca: require('node:fs').readFileSync(authorityFile),
        method: 'POST',
        headers: { connection: 'Upgrade', upgrade: 'h2c', 'content-length': 20 },
      });
      request.end('twenty bytes of text');
      const [response] = await once(request, 'response');
      expect(Buffer.concat(await response.toArray()).toString()).toBe('app POST /page undefined twenty bytes of text');
    });

    test('are not parsed as two requests if Node.js has dropped their length', async () => {
      const { server, origin } = await serveEcho();
      const urls = [];
      server.on('request', ({ url }) => urls.push(url));
      const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n';
      const { received } = send(origin, `POST /page HTTP/1.1\r\n${OFFER}${'a:\r\n'.repeat(1100)}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`);
      expect([await received, urls]).toEqual(['', []]);
    });
  });
});

describe('what is forwarded', () => {
  /** The head that the engine receives for a request. */
  async function headFor(text) {
    let head = '';
    const app = await serveAsEngine((socket) => {
      socket.on('data', (data) => {
        head += data;
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nSet-Cookie: engine=1\r\nX-Other: 1\r\n\r\nno');
      });
    });
    const { received } = send(app.origin, text);
    return { response: await received, head };
  }

  test('has neither cookies nor headers of one hop', async () => {
    const fields = 'Cookie: session=1\r\nX-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\nOrigin: https://app.example\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\n';
    const { head, response } = await headFor(upgradeOf('/media/rtc?access_token=t', fields));
    expect(head.split('\r\n')[0]).toBe('GET /rtc?access_token=t HTTP/1.1');
    const names = head.split('\r\n').slice(1).filter(Boolean).map((line) => line.split(':')[0].toLowerCase());
    expect(names.sort()).toEqual(['connection', 'host', 'origin', 'sec-websocket-key', 'sec-websocket-version', 'upgrade']);
    expect(response).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    expect(response).not.toMatch(/set-cookie|x-other/i);
    expect(response).toMatch(/\r\n\r\nno$/);
  });

  test('has no header of a polluted Object.prototype', async () => {
    // That of Node.js: jest runs tests in a realm of their own.
    const polluted = Object.getPrototypeOf(EventEmitter.prototype);
    cleanUp(() => delete polluted.authorization);
    polluted.authorization = 'Bearer polluted';
    const { head } = await headFor(upgradeOf('/media/rtc', 'Origin: https://app.example\r\n'));
    expect(head).toContain('Origin: https://app.example'.toLowerCase());
    expect(head).not.toContain('polluted');
  });

  test('never contains a request that follows a rejected upgrade', async () => {
    const smuggled = 'POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n\r\n';
    const { head, response } = await headFor(upgradeOf('/media/rtc') + smuggled);
    expect(head).not.toContain('twirp');
    expect(response.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  test('is no upgrade to another protocol', async () => {
    const { head, response } = await headFor('GET /media/rtc HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    expect([head, response.slice(0, 12)]).toEqual(['', 'HTTP/1.1 400']);
  });

  test.each(['/media/rtc', '/page'])('is nothing of an upgrade that is pipelined after another request: %s', async (path) => {
    const { server, origin } = await serveAttached();
    const requests = [];
    server.removeAllListeners('request');
    server.on('request', (request) => requests.push(request));
    const { received } = send(origin, `GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n${upgradeOf(path)}`);
    expect(await received).toBe('');
    expect(requests).toHaveLength(1);
  });
});

describe('an engine that', () => {
  const join = (origin) => send(origin, upgradeOf('/media/rtc')).received;

  test('does not start gives 503 without the reason, and is started again after a second', async () => {
    let starts = 0;
    const fail = () => {
      starts += 1;
      throw new Error('MARAVILLA_MEDIA_PORT 7880 is in use');
    };
    const { platform, media } = loadOverCore((name) => (name === 'mediaUrl' ? fail : undefined), { provider: 'embedded' });
    cleanUp(() => platform.close());
    const { server, origin } = await serveApp();
    await media.attach(server);
    const now = jest.spyOn(performance, 'now');
    cleanUp(() => now.mockRestore());
    const at = async (time) => {
      now.mockReturnValue(time);
      const response = await textOf(`${origin}/media/rtc/validate`);
      expect([time, response]).toEqual([time, [503, 'the media engine is unavailable']]);
      return starts;
    };
    expect([await at(5000), await at(5001), await at(5999), await at(6000)]).toEqual([1, 1, 1, 2]);
    expect(await join(origin)).toMatch(/^HTTP\/1\.1 503 /);
  });

  test('refuses connections gives 502', async () => {
    const app = await serveAsEngine((socket) => socket.resetAndDestroy());
    expect(await join(app.origin)).toMatch(/^HTTP\/1\.1 502 /);
    expect((await textOf(`${app.origin}/media/rtc/validate`))[0]).toBe(502);
  });

  test('responds with no HTTP gives 502', async () => {
    const app = await serveAsEngine((socket) => socket.end('nothing\r\n\r\n'));
    expect(await join(app.origin)).toMatch(/^HTTP\/1\.1 502 /);
  });

  test('does not respond gives 504', async () => {
    const app = await serveAsEngine(() => {});
    const [upgrade, [status]] = await Promise.all([join(app.origin), textOf(`${app.origin}/media/rtc/validate`)]);
    expect([upgrade.slice(0, 12), status]).toEqual(['HTTP/1.1 504', 504]);
  });

  test('has as many requests as it accepts gets no more, until some have ended', async () => {
    const app = await serveAsEngine((socket) => socket.on('data', (data) => String(data).includes('/validate') && socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')));
    const clients = Array.from({ length: 1024 }, () => send(app.origin, upgradeOf('/media/rtc')).socket);
    const status = async () => (await textOf(`${app.origin}/media/rtc/validate`))[0];
    await eventually('the limit', status, (seen) => expect(seen).toBe(503));
    for (const client of clients) client.resetAndDestroy();
    await eventually('the end of the others', status, (seen) => expect(seen).toBe(200));
  });

  test('ends within its response closes the connection of the client', async () => {
    const app = await serveAsEngine((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'));
    await expect(textOf(`${app.origin}/media/rtc/validate`)).rejects.toThrow();
  });

  test('is asked no more once the client has gone', async () => {
    let client;
    const requested = new Promise((resolve) => {
      void serveAsEngine((socket) => socket.once('data', () => resolve(socket))).then(({ origin }) => (client = send(origin, upgradeOf('/media/rtc')).socket));
    });
    const engine = await requested;
    client.resetAndDestroy();
    await once(engine, 'close');
  });

  test('is connected to a client that ends its side gets that end', async () => {
    let engine;
    const app = await serveAsEngine((socket) => {
      engine = socket;
      socket.once('data', () => socket.write(ACCEPTED));
    });
    const { socket } = send(app.origin, upgradeOf('/media/rtc'));
    await once(socket, 'data');
    socket.end();
    await once(engine, 'close');
  });

  test.each([
    ['ends', (engine) => engine.end('last')],
    ['is reset', (engine) => engine.write('last', () => setImmediate(() => engine.resetAndDestroy()))],
  ])('%s after the upgrade closes the client, which has received everything', async (_, finish) => {
    const app = await serveAsEngine((socket) => socket.once('data', () => socket.write(ACCEPTED, () => finish(socket))));
    expect(await join(app.origin)).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\n(?:last)?$/);
  });

  test('sends more than the client reads is paused, and resumes', async () => {
    let engine;
    const app = await serveAsEngine((socket) => {
      engine = socket;
      socket.once('data', () => socket.write(ACCEPTED));
    });
    const { socket } = send(app.origin, upgradeOf('/media/rtc'));
    await once(socket, 'data');
    socket.pause();
    const chunk = Buffer.alloc(1 << 20);
    const pending = () => engine.writableLength;
    while (pending() < 32 * chunk.length) engine.write(chunk);
    // The app's server forwards in the meantime what it can: into the buffers of the kernel and of its sockets.
    for (let i = 0; i < 100; i += 1) await textOf(app.origin);
    expect(pending()).toBeGreaterThan(8 * chunk.length);
    socket.resume();
    await once(engine, 'drain');
  });
});

describe('media reachability', () => {
  test('an engine whose app is reachable from other machines is opened for media from them, unless it is running', async () => {
    const opened = [];
    const spy = (name, original) => (name === 'openEmbedded' ? (options) => (opened.push(options.isAttached), original(options)) : undefined);
    const attachTo = async (host, before = () => {}) => {
      opened.splice(0);
      const { platform, media } = loadOverCore(spy, { provider: 'embedded' });
      cleanUp(() => platform.close());
      await before(media);
      const { server, origin } = await serveApp({ host });
      await media.attach(server);
      expect((await textOf(`${origin.replace('0.0.0.0', '127.0.0.1')}/media/rtc/validate`))[0]).toBe(401);
      return [...opened];
    };
    expect(await attachTo('127.0.0.1')).toEqual([false]);
    expect(await attachTo('0.0.0.0')).toEqual([false, true]);
    expect(await attachTo('0.0.0.0', (media) => media.createRoom('room'))).toEqual([false]);
  });

  test('a server that listens after it was attached counts', async () => {
    const opened = [];
    const { platform, media } = loadOverCore((name, original) => (name === 'openEmbedded' ? (options) => (opened.push(options.isAttached), original(options)) : undefined), { provider: 'embedded' });
    cleanUp(() => platform.close());
    const server = http.createServer();
    await media.attach(server);
    await once(server.listen(0, '0.0.0.0'), 'listening');
    cleanUp(() => server.close());
    expect(opened).toEqual([false, true]);
  });
});

describe('arguments', () => {
  test('a wrong server, path or origin is INVALID_ARGUMENT', async () => {
    const { media } = openEmbedded();
    const server = http.createServer();
    for (const call of [
      () => media.attach(undefined),
      () => media.attach({}),
      () => media.attach(server, null),
      () => media.attach(server, { mediaPath: 'media' }),
      () => media.attach(server, { mediaPath: '/a b' }),
      () => media.attach(server, { mediaPath: '/media?x' }),
      () => media.attach(server, { mediaPth: '/media' }),
      () => media.generateToken('room', ann, { origin: 'app.example' }),
      () => media.generateToken('room', ann, { origin: 'null' }),
      () => media.generateToken('room', ann, { origin: 'ftp://app.example' }),
      () => media.generateToken('room', ann, { origin: 7 }),
      () => media.generateToken('room', ann, { orign: 'https://app.example' }),
    ]) {
      expect([String(call), (await failureOf(call())).code]).toEqual([String(call), 'INVALID_ARGUMENT']);
    }
    expect(server.listenerCount('upgrade')).toBe(0);
  });

  test('another path is served, and of several the latest is returned', async () => {
    const { media, server, origin } = await serveAttached({ mediaPath: '/calls/live/' });
    const { url } = await media.generateToken('room', ann, { origin: `${origin}/some/page?x=1` });
    expect(url).toBe(`${origin.replace('http', 'ws')}/calls/live`);
    const detach = await media.attach(server, { mediaPath: '/' });
    expect((await media.generateToken('room', ann, { origin })).url).toBe(origin.replace('http', 'ws'));
    expect((await textOf(`${origin}/rtc/validate`))[0]).toBe(401);
    detach();
    expect((await media.generateToken('room', ann, { origin })).url).toBe(url);
  });

  test('detaching a server twice leaves another one attached at the same path', async () => {
    const { media, detach, origin } = await serveAttached();
    const other = await serveApp();
    await media.attach(other.server);
    detach();
    detach();
    expect((await media.generateToken('room', ann, { origin: other.origin })).url).toBe(`${other.origin.replace('http', 'ws')}/media`);
    expect((await textOf(`${other.origin}/media/rtc/validate`))[0]).toBe(401);
    expect(await textOf(`${origin}/media/rtc/validate`)).toEqual([200, 'app GET /media/rtc/validate']);
  });

  test('an origin has no effect without an attached server, or on LiveKit', async () => {
    const { media } = openEmbedded();
    const { url, token } = await media.generateToken('room', ann, { origin: 'https://app.example' });
    expect(url).toBe(await media.mediaUrl());
    expect(readToken(token).claims.sub).toBe('ann');
    const livekit = mediaAt('wss://rooms.example');
    const server = http.createServer();
    const detach = await livekit.attach(server);
    detach();
    expect(server.listenerCount('upgrade')).toBe(0);
    expect((await livekit.generateToken('room', ann, { origin: 'https://app.example' })).url).toBe('wss://rooms.example');
  });

  test('the server is as before once it is detached or closed', async () => {
    const { media } = openEmbedded();
    const server = http.createServer();
    const detach = await media.attach(server);
    expect(Object.hasOwn(server, 'emit')).toBe(true);
    detach();
    expect([Object.hasOwn(server, 'emit'), server.listenerCount('upgrade'), server.listenerCount('close')]).toEqual([false, 0, 0]);
    await media.attach(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    server.close();
    await once(server, 'close');
    expect([Object.hasOwn(server, 'emit'), (await media.generateToken('room', ann, { origin: 'http://app.example' })).url]).toEqual([false, await media.mediaUrl()]);
  });
});
