'use strict';

// LiveKit's conformance cases for server SDKs, on its mock of four regions. The header `X-Lk-Mock` controls the mock. A forward proxy adds
// it, and resolves the host names of LiveKit Cloud to this machine.

const { CreateRoomRequest } = require('@livekit/protocol');
const { startTestServer } = require('../../test-support/livekit-server.js');
const { startApp } = require('./support/processes.js');
const { startProxy } = require('./support/proxy.js');
const { pause } = require('./support/wait.js');

/** Minimum timeout of a call with more than one attempt. */
const MIN_FAILOVER_TIMEOUT_MS = 5000;
const BACKOFF_MS = 200;

/** Valid arguments of methods. @type {Record<string, unknown[]>} */
const ARGUMENTS = {
  listRooms: [],
  deleteRoom: ['r'],
  getRoom: ['r'],
  updateRoom: ['r', { metadata: 'm' }],
  listParticipants: ['r'],
  updateParticipant: ['r', 'ann', { name: 'Ann' }],
  sendData: ['r', 'hello'],
  removeParticipant: ['r', 'ann'],
};

describe('a project of LiveKit Cloud', () => {
  /** @type {Awaited<ReturnType<typeof startTestServer>>} */
  let mock;
  /** @type {Awaited<ReturnType<typeof startProxy>>} */
  let proxy;
  /** @type {Awaited<ReturnType<typeof startApp>>[]} */
  const apps = [];
  /** The directive for the mock. @type {Record<string, unknown>} */
  let directive;
  /** Cache-Control of the response to `/settings/regions`. */
  let cacheControl = '';

  beforeAll(async () => {
    mock = await startTestServer({ advertiseHost: 'http://acme.livekit.cloud' });
    proxy = await startProxy({
      requestHeaders: () => ({ 'x-lk-mock': JSON.stringify(directive) }),
      responseHeaders: (path) => (path === '/settings/regions' && cacheControl ? { 'cache-control': cacheControl } : {}),
    });
  });
  afterAll(async () => {
    await proxy?.stop();
    await mock?.stop();
  });
  beforeEach(() => {
    directive = {};
    cacheControl = '';
    proxy.clear();
  });
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.stop()));
  });

  /** Starts a process, because regions are cached per process. @param {import('../../index.js').PlatformOptions} [more] @param {string} [host] */
  async function open(more, host = 'acme.livekit.cloud') {
    const { apiKey, apiSecret, ports } = mock;
    const options = { url: `http://${host}:${ports[0]}`, apiKey, apiSecret, ...more };
    const app = await startApp(options, { HTTP_PROXY: proxy.url });
    apps.push(app);
    return app;
  }

  /** Targets of the requests: the number of the region, or `regions N` for the list. */
  function route() {
    return proxy.requests().map(({ host, path }) => {
      const region = mock.ports.indexOf(Number(new URL(`http://${host}`).port));
      return path === '/settings/regions' ? `regions ${region}` : region;
    });
  }

  /** Times between the end of an attempt and the start of the next one. */
  function pauses() {
    const attempts = proxy.requests('CreateRoom');
    return attempts.slice(1).map(({ at }, index) => at - /** @type {number} */ (attempts[index].answeredAt));
  }

  describe('without failures', () => {
    test('[1] succeeds at the first attempt', async () => {
      const app = await open();
      expect(await app.run('createRoom', 'huddle:1')).toMatchObject({ value: { name: 'huddle:1', active: true } });
      expect(proxy.requests()).toMatchObject([{ method: 'CreateRoom', path: '/twirp/livekit.RoomService/CreateRoom', status: 200 }]);
      expect(route()).toEqual([0]);
    });

    test('[14] receives and returns all settings of a room', async () => {
      const app = await open();
      const settings = { maxParticipants: 7, emptyTimeoutSecs: 120, departureTimeoutSecs: 30, metadata: '{"a":"é"}' };
      expect((await app.run('createRoom', 'all', settings)).value).toMatchObject({ name: 'all', maxParticipants: 7 });
      expect(CreateRoomRequest.fromBinary(proxy.requests()[0].body).toJson()).toEqual({
        name: 'all',
        maxParticipants: 7,
        emptyTimeout: 120,
        departureTimeout: 30,
        metadata: '{"a":"é"}',
      });
    });

    test('[14] receives emptyTimeoutSecs as both timeouts', async () => {
      const app = await open();
      await app.run('createRoom', 'both', { emptyTimeoutSecs: 120 });
      await app.run('createRoom', 'neither', { departureTimeoutSecs: 5 });
      expect(proxy.requests().map(({ body }) => CreateRoomRequest.fromBinary(body).toJson())).toEqual([
        { name: 'both', emptyTimeout: 120, departureTimeout: 120 },
        { name: 'neither', departureTimeout: 5 },
      ]);
    });

    test('[16] returns rooms, also of old servers', async () => {
      const app = await open();
      directive = {
        response: {
          rooms: [
            { name: 'b', numParticipants: 2, maxParticipants: 9, creationTime: '5', creationTimeMs: '5123', turnPassword: 'hush' },
            { name: 'a', creationTime: '5' },
          ],
        },
      };
      expect((await app.run('listRooms')).value).toEqual([
        { name: 'a', numParticipants: 0, maxParticipants: 0, createdAt: 5000, active: true },
        { name: 'b', numParticipants: 2, maxParticipants: 9, createdAt: 5123, active: true },
      ]);
      directive = {};
      expect((await app.run('listRooms')).value).toHaveLength(1);
    });

    test('[16] returns participants in every state, with their tracks', async () => {
      const states = ['JOINING', 'JOINED', 'ACTIVE', 'DISCONNECTED'];
      const tracks = [
        { sid: 'TR_1', source: 'CAMERA', type: 'VIDEO' },
        { sid: 'TR_2', source: 'MICROPHONE', type: 'AUDIO', muted: true },
        { sid: 'TR_3', source: 'SCREEN_SHARE', type: 'VIDEO' },
        { sid: 'TR_4', source: 'SCREEN_SHARE_AUDIO', type: 'AUDIO' },
        { sid: 'TR_5', type: 'DATA' },
      ];
      const permission = { canPublish: true, canSubscribe: true, canPublishData: true };
      const participants = states.map((state, index) => ({ identity: `p${index}`, state, joinedAt: '5' }));
      const full = { name: 'N', metadata: 'M', attributes: { k: 'v' }, joinedAtMs: '5123', permission, tracks };
      directive = { response: { participants: [...participants.slice(1).reverse(), { ...participants[0], ...full }] } };
      const { value } = await (await open()).run('listParticipants', 'r');
      expect(value.map((/** @type {any} */ { identity, state, joinedAt }) => [identity, state, joinedAt])).toEqual([
        ['p0', 'joining', 5123],
        ['p1', 'joined', 5000],
        ['p2', 'active', 5000],
        ['p3', 'disconnected', 5000],
      ]);
      expect(value[0]).toEqual({
        identity: 'p0',
        name: 'N',
        state: 'joining',
        joinedAt: 5123,
        metadata: 'M',
        attributes: { k: 'v' },
        canPublish: true,
        canSubscribe: true,
        canPublishData: true,
        tracks: [
          { sid: 'TR_1', source: 'camera', kind: 'video', muted: false },
          { sid: 'TR_2', source: 'microphone', kind: 'audio', muted: true },
          { sid: 'TR_3', source: 'screen_share', kind: 'video', muted: false },
          { sid: 'TR_4', source: 'screen_share_audio', kind: 'audio', muted: false },
          { sid: 'TR_5', source: 'unknown', kind: 'data', muted: false },
        ],
      });
      expect(value[1]).toMatchObject({ name: '', metadata: '', attributes: {}, canPublish: false, tracks: [] });
    });
  });

  describe('with failing regions', () => {
    test('[2] succeeds in the second region', async () => {
      directive = { failRegions: [0] };
      const app = await open();
      expect(await app.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 1]);
      expect(pauses()[0]).toBeGreaterThanOrEqual(BACKOFF_MS - 5);
    });

    test('[3] succeeds in the third region, with exponential backoff', async () => {
      directive = { failRegions: [0, 1] };
      const app = await open();
      expect(await app.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      const [first, second] = pauses();
      expect(first).toBeGreaterThanOrEqual(BACKOFF_MS - 5);
      expect(second).toBeGreaterThanOrEqual(2 * BACKOFF_MS - 5);
      expect(first + second).toBeLessThan(2000);
    });

    test('[4] fails with the server’s error after three attempts', async () => {
      directive = { failRegions: [0, 1, 2, 3] };
      const app = await open();
      expect(await app.run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503, retryable: true } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
    });

    test.each([
      [500, 'internal'],
      [502, undefined],
      [504, undefined],
    ])('[2] succeeds in the second region after status %d', async (failStatus, failTwirpCode) => {
      directive = { failRegions: [0], failStatus, failTwirpCode };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 1]);
    });

    test.each([
      [400, 'invalid_argument', { code: 'UPSTREAM_ERROR', retryable: false }],
      [403, 'permission_denied', { code: 'PERMISSION_DENIED', retryable: false }],
      [401, 'unauthenticated', { code: 'PERMISSION_DENIED', retryable: false }],
      [404, 'not_found', { code: 'ROOM_NOT_FOUND', retryable: false }],
      [429, 'resource_exhausted', { code: 'LIMIT_EXCEEDED', retryable: true }],
      [412, 'failed_precondition', { code: 'UPSTREAM_ERROR', retryable: false }],
    ])('[5, 15, 28, 29] fails at once with status %d (%s)', async (failStatus, failTwirpCode, error) => {
      directive = { failRegions: [0], failStatus, failTwirpCode };
      const failed = (await (await open()).run('createRoom', 'r')).error;
      expect(failed).toMatchObject({ ...error, operation: 'createRoom', upstreamStatus: failStatus, isMediaError: true });
      expect(route()).toEqual([0]);
    });

    test('[6] succeeds in the second region after a dropped connection', async () => {
      directive = { failRegions: [0], failMode: 'drop' };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 1]);
    });

    test('[7] fails with the first error if the list of regions fails', async () => {
      directive = { failRegions: [0], regionsStatus: 500 };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
      expect(route()).toEqual([0, 'regions 0']);
    });

    test.each(Object.keys(ARGUMENTS))('[2] %s succeeds in the second region', async (method) => {
      directive = { failRegions: [0] };
      // The mock leaves the room's name out of its response.
      if (method === 'updateRoom') directive.response = { name: 'r' };
      const outcome = await (await open()).run(method, ...ARGUMENTS[method]);
      expect(outcome.error).toBeUndefined();
      expect(route()).toEqual([0, 'regions 0', 1]);
    });

    test.each(['acme.livekit.run', 'acme.region.livekit.cloud', 'ACME.LiveKit.Cloud'])('[2] fails over from the host %s', async (host) => {
      directive = { failRegions: [0] };
      expect(await (await open({}, host)).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      // The list has another host name for region 0.
      expect(route().filter(Number.isInteger).at(-1)).toBe(1);
    });

    test.each(['livekit.example.com', 'acme.livekit.cloud.example.com', 'notlivekit.cloud'])(
      '[8] does not fail over from the host %s, which is not LiveKit Cloud',
      async (host) => {
        directive = { failRegions: [0] };
        expect(await (await open({}, host)).run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
        expect(route()).toEqual([0]);
      },
    );
  });

  describe('with slow regions', () => {
    test('[10] succeeds in the second region after half of the timeout', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { value, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: MIN_FAILOVER_TIMEOUT_MS });
      expect(value).toMatchObject({ name: 'r' });
      expect(route()).toEqual([0, 'regions 0', 1]);
      expect(ms).toBeGreaterThan(MIN_FAILOVER_TIMEOUT_MS / 2);
      expect(ms).toBeLessThan(MIN_FAILOVER_TIMEOUT_MS / 2 + 1000);
    });

    test('[10, 31] succeeds in the third region within the timeout', async () => {
      directive = { failRegions: [0, 1], failMode: 'delay' };
      const { value, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: MIN_FAILOVER_TIMEOUT_MS });
      expect(value).toMatchObject({ name: 'r' });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      expect(ms).toBeLessThan(MIN_FAILOVER_TIMEOUT_MS);
    });

    test('[31] is TIMEOUT after the whole timeout', async () => {
      directive = { failRegions: [0, 1, 2, 3], failMode: 'delay' };
      const { error, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: MIN_FAILOVER_TIMEOUT_MS });
      expect(error).toMatchObject({ code: 'TIMEOUT', retryable: true });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      expect(ms).toBeGreaterThan(MIN_FAILOVER_TIMEOUT_MS - 5);
      expect(ms).toBeLessThan(MIN_FAILOVER_TIMEOUT_MS + 500);
    });

    test('[11] makes one attempt with a short timeout', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { error, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: 300 });
      expect(error).toMatchObject({ code: 'TIMEOUT', retryable: true });
      expect(route()).toEqual([0]);
      expect(ms).toBeGreaterThan(295);
      expect(ms).toBeLessThan(1000);
    });

    test('[11] fails over with a timeout of five seconds or more', async () => {
      directive = { failRegions: [0] };
      const app = await open();
      const short = await app.run('createRoom', 'r', {}, { timeoutMs: MIN_FAILOVER_TIMEOUT_MS - 1 });
      expect(short).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
      expect(route()).toEqual([0]);
      expect(await app.run('createRoom', 'r', {}, { timeoutMs: MIN_FAILOVER_TIMEOUT_MS })).toMatchObject({ value: { name: 'r' } });
    });

    test('[11] does the same for the configured timeout', async () => {
      directive = { failRegions: [0] };
      const app = await open({ timeoutMs: MIN_FAILOVER_TIMEOUT_MS - 1 });
      expect(await app.run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE' } });
      expect(route()).toEqual([0]);
    });

    test('[31] makes no further attempt after an abort', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { error, ms } = await (await open()).runUntil(300, 'createRoom', 'r', {}, {});
      expect(error).toMatchObject({ code: 'ABORTED', retryable: false });
      expect(ms).toBeLessThan(1000);
      await pause(1000);
      expect(route()).toEqual([0]);
      expect(proxy.requests()[0].aborted).toBe(true);
    });
  });

  describe('pinned to regions', () => {
    test.each([
      [['region-1'], 1],
      [['region-3'], 3],
    ])('[12] succeeds in one of them: %j', async (pinnedRegions, region) => {
      directive = { pinnedRegions };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', region]);
      expect(proxy.requests().map(({ status }) => status)).toEqual([451, 200, 200]);
    });

    test('[12] requests the list of regions again, though it is cached', async () => {
      cacheControl = 'max-age=60';
      directive = { failRegions: [0] };
      const app = await open();
      await app.run('createRoom', 'r');
      proxy.clear();
      directive = { pinnedRegions: ['region-2'] };
      expect(await app.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 2]);
    });

    test('[12] fails over among them', async () => {
      directive = { pinnedRegions: ['region-1', 'region-3'], failRegions: [1] };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 3]);
    });

    test('[12] is PERMISSION_DENIED if none of them is available', async () => {
      directive = { pinnedRegions: ['region-9'] };
      const expected = { code: 'PERMISSION_DENIED', upstreamStatus: 451, retryable: false };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ error: expected });
      expect(route()).toEqual([0, 'regions 0']);
    });
  });

  test('removeParticipant revokes tokens only if it is asked to', async () => {
    const app = await open();
    expect((await app.run('removeParticipant', 'r', 'ann', { revokeTokens: true })).value).toEqual({ tokensRevoked: true });
    expect((await app.run('removeParticipant', 'r', 'ann')).value).toEqual({ tokensRevoked: false });
  });

  describe('tokens', () => {
    test.each([
      ['createRoom', 'CreateRoom', ['r'], { roomCreate: true }],
      ['deleteRoom', 'DeleteRoom', ['r'], { roomCreate: true }],
      ['listRooms', 'ListRooms', [], { roomList: true }],
      ['listParticipants', 'ListParticipants', ['r'], { roomAdmin: true, room: 't:r' }],
      ['removeParticipant', 'RemoveParticipant', ['r', 'ann'], { roomAdmin: true, room: 't:r' }],
    ])('[13] for %s have only the required grant, for one minute', async (method, twirp, args, video) => {
      const before = Math.floor(Date.now() / 1000);
      const outcome = await (await open({ roomPrefix: 't:' })).run(method, ...args);
      expect(outcome.error).toBeUndefined();
      const [{ claims, status }] = proxy.requests(twirp);
      expect(status).toBe(200);
      expect(claims).toEqual({ iss: mock.apiKey, nbf: expect.any(Number), exp: expect.any(Number), video });
      expect(claims.nbf).toBeGreaterThanOrEqual(before);
      expect(claims.exp - claims.nbf).toBe(60);
    });

    test('[28] with a wrong secret are rejected without a failover', async () => {
      const app = await open({ apiSecret: 'not-the-secret' });
      // The mock responds with a Twirp error, LiveKit with plain text.
      expect(await app.run('listRooms')).toMatchObject({ error: { code: 'PERMISSION_DENIED', upstreamStatus: 401, retryable: false } });
      expect(route()).toEqual([0]);
    });
  });

  describe('request ids', () => {
    const id = (/** @type {import('./support/proxy.js').ProxiedRequest} */ { headers }) => headers['x-livekit-request-id'];

    test('[30] differ between calls, and are the same for all requests of a call', async () => {
      directive = { failRegions: [0, 1] };
      const app = await open();
      await app.run('createRoom', 'r');
      const first = new Set(proxy.requests().map(id));
      expect(first.size).toBe(1);
      proxy.clear();
      await app.run('createRoom', 'r');
      const second = new Set(proxy.requests().map(id));
      expect(second.size).toBe(1);
      expect([...second][0]).toMatch(/^[\w-]{16,}$/);
      expect(second).not.toEqual(first);
    });

    test('[30] are in the error', async () => {
      directive = { failRegions: [0], failStatus: 400 };
      const { error } = await (await open()).run('createRoom', 'r');
      expect(error.requestId).toBe(id(proxy.requests()[0]));
    });

    test('[2] and the token are sent with the request for the list of regions', async () => {
      directive = { failRegions: [0] };
      await (await open()).run('createRoom', 'r');
      const [first, list, second] = proxy.requests();
      // Each attempt has a new token, so only its times may differ.
      const { iss, video } = first.claims;
      expect(list).toMatchObject({ path: '/settings/regions', claims: { iss, video } });
      expect(second.claims).toMatchObject({ iss, video });
      expect(second.body.equals(first.body)).toBe(true);
    });
  });

  describe('the list of regions', () => {
    const lists = () => route().filter((target) => typeof target === 'string').length;

    test('[31] is cached for max-age', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=1';
      const app = await open();
      await app.run('createRoom', 'r');
      await app.run('createRoom', 'r');
      expect(lists()).toBe(1);
      await pause(1100);
      await app.run('createRoom', 'r');
      expect(lists()).toBe(2);
    });

    test('[31] is not cached with max-age=0', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=0';
      const app = await open();
      await app.run('createRoom', 'r');
      await app.run('createRoom', 'r');
      expect(lists()).toBe(2);
    });

    test('[31] is requested once for three attempts', async () => {
      directive = { failRegions: [0, 1] };
      cacheControl = 'max-age=60';
      await (await open()).run('createRoom', 'r');
      expect(route()).toEqual([0, 'regions 0', 1, 2]);
    });

    test('[31] is used after max-age if a new one fails', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=1';
      const app = await open();
      await app.run('createRoom', 'r');
      await pause(1100);
      directive = { failRegions: [0], regionsStatus: 500 };
      expect(await app.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
    });
  });
});
