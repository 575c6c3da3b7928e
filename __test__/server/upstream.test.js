'use strict';

// Requests to livekit-server, observed by a proxy.

const { createHmac } = require('node:crypto');

const { startServer, startTestServer } = require('../../test-support/livekit-server.js');
const { openMedia } = require('./support/providers.js');
const { startProxy } = require('./support/proxy.js');
const { until } = require('./support/wait.js');

/** Delay of responses, so that concurrent requests overlap. */
const DELAY_MS = 20;

describe('requests to LiveKit', () => {
  /** @type {Awaited<ReturnType<typeof startServer>>} */
  let server;
  /** @type {Awaited<ReturnType<typeof startProxy>>} */
  let proxy;
  /** @type {import('../../index.js').PlatformOptions} */
  let options;

  beforeAll(async () => {
    server = await startServer({ keys: { one: 'a'.repeat(32), two: 'b'.repeat(32) } });
    proxy = await startProxy({ target: server.apiUrl });
    options = { url: proxy.url, apiKey: 'one', apiSecret: 'a'.repeat(32) };
  });
  afterAll(async () => {
    await proxy?.stop();
    await server?.stop();
  });
  beforeEach(() => {
    proxy.clear();
    proxy.delay(DELAY_MS);
  });

  /** Maximum number of concurrent requests. @param {import('./support/proxy.js').ProxiedRequest[]} requests */
  function maxConcurrent(requests) {
    return Math.max(...requests.map(({ at }) => requests.filter((other) => other.at <= at && (other.answeredAt ?? Infinity) > at).length));
  }

  test('are shared by 1,000 concurrent createRoom calls of one room', async () => {
    const media = openMedia(options);
    const other = openMedia(options);
    const rooms = await Promise.all(Array.from({ length: 1000 }, (_, index) => (index % 2 ? media : other).createRoom('huddle:x')));
    expect(proxy.requests().map(({ method }) => method)).toEqual(['CreateRoom']);
    for (const room of rooms) expect(room).toEqual(rooms[0]);
    expect(new Set(rooms).size).toBe(1000);
    await media.createRoom('huddle:x');
    expect(proxy.requests('CreateRoom')).toHaveLength(2);
  });

  test('are not shared by other rooms, prefixes and keys', async () => {
    const colon = openMedia({ ...options, roomPrefix: 'a:' });
    const two = openMedia({ ...options, apiKey: 'two', apiSecret: 'b'.repeat(32) });
    await Promise.all([openMedia(options).createRoom('a'), openMedia(options).createRoom('b'), colon.createRoom('a'), two.createRoom('a')]);
    expect(proxy.requests('CreateRoom')).toHaveLength(4);
    expect(maxConcurrent(proxy.requests())).toBe(4);
  });

  test('are limited to 64 at once, in the order of the calls', async () => {
    const media = openMedia(options);
    const names = Array.from({ length: 200 }, (_, index) => `queued ${index}`);
    const rooms = await Promise.all(names.map((name) => media.createRoom(name)));
    expect(rooms.map(({ name }) => name)).toEqual(names);
    expect(maxConcurrent(proxy.requests())).toBeLessThanOrEqual(64);
    expect(maxConcurrent(proxy.requests())).toBeGreaterThan(32);
    // None of the last 64 was sent among the first 64.
    const order = proxy.requests().map(({ body }) => names.indexOf(body.subarray(2, 2 + body[1]).toString()));
    expect(Math.max(...order.slice(0, 64))).toBeLessThan(names.length - 64);
    await Promise.all(names.map((name) => media.deleteRoom(name)));
  });

  test('to create and delete one room never overlap', async () => {
    const [media, other] = [openMedia(options), openMedia(options)];
    const calls = Array.from({ length: 40 }, (_, index) => {
      const either = index % 3 ? media : other;
      return index % 2 ? either.deleteRoom('contended') : either.createRoom('contended');
    });
    await Promise.all(calls);
    const requests = proxy.requests();
    expect(new Set(requests.map(({ method }) => method))).toEqual(new Set(['CreateRoom', 'DeleteRoom']));
    expect(requests.length).toBeGreaterThan(20);
    expect(maxConcurrent(requests)).toBe(1);
  });

  test('continue for other calls when one is aborted', async () => {
    const media = openMedia(options);
    proxy.delay(300);
    const aborting = new AbortController();
    const calls = [
      media.createRoom('shared', {}, { signal: aborting.signal }),
      media.createRoom('shared', {}, { timeoutMs: 100 }),
      media.createRoom('shared', {}, { timeoutMs: 5000 }),
    ];
    await until(() => proxy.requests('CreateRoom').length);
    aborting.abort();
    await expect(calls[0]).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(calls[1]).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(await calls[2]).toMatchObject({ name: 'shared' });
    expect(proxy.requests('CreateRoom')).toMatchObject([{ status: 200 }]);
  });

  test('are aborted when all calls are aborted', async () => {
    const media = openMedia(options);
    proxy.delay(5000);
    const signals = [new AbortController(), new AbortController()];
    const calls = signals.map(({ signal }) => media.createRoom('aborted', {}, { signal }));
    const outcomes = Promise.allSettled(calls);
    await until(() => proxy.requests('CreateRoom').length);
    for (const signal of signals) signal.abort();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } });
    await until(() => proxy.requests('CreateRoom')[0].aborted, 1000);
  });

  test('do not return the TURN password', async () => {
    const media = openMedia(options);
    const room = await media.createRoom('turn');
    const raw = await callServer('ListRooms', {}, { roomList: true });
    const passwords = raw.rooms.map((/** @type {{ turn_password: string }} */ room) => room.turn_password);
    expect(passwords.length).toBeGreaterThan(0);
    for (const password of passwords) expect(password).toMatch(/./);
    const shown = JSON.stringify([room, await media.listRooms()]);
    expect(shown).not.toMatch(/turn_?password/i);
    for (const password of passwords) expect(shown).not.toContain(password);
  });

  /** Calls the server without the package. @param {string} method @param {object} body @param {object} video */
  async function callServer(method, body, video) {
    const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const unsigned = `${part({ alg: 'HS256' })}.${part({ iss: server.apiKey, nbf: now, exp: now + 60, video })}`;
    const signature = createHmac('sha256', server.apiSecret).update(unsigned).digest('base64url');
    const response = await fetch(`${server.apiUrl}/twirp/livekit.RoomService/${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${unsigned}.${signature}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return await response.json();
  }
});

describe('a LiveKit server behind a path', () => {
  /** @type {Awaited<ReturnType<typeof startTestServer>>} */
  let mock;
  beforeAll(async () => {
    mock = await startTestServer({ regions: 1, twirpPrefix: '/behind/a proxy/twirp' });
  });
  afterAll(() => mock?.stop());

  test.each(['/behind/a%20proxy', '/behind/a%20proxy/'])('is called at that path: %s', async (path) => {
    const { url, apiKey, apiSecret } = mock;
    const media = openMedia({ url: url + path, apiKey, apiSecret });
    expect(await media.createRoom('r')).toMatchObject({ name: 'r' });
    expect(await media.mediaUrl()).toBe(`${url}/behind/a%20proxy`);
    expect(await media.generateToken('r', { identity: 'ann', name: '' })).toMatchObject({ url: `${url}/behind/a%20proxy` });
  });

  test('is BAD_RESPONSE at another path', async () => {
    const { url, apiKey, apiSecret } = mock;
    await expect(openMedia({ url, apiKey, apiSecret }).createRoom('r')).rejects.toMatchObject({ code: 'BAD_RESPONSE', upstreamStatus: 404 });
  });
});
