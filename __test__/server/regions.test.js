'use strict';

// LiveKit's own conformance cases for server SDKs, on its mock of four regions. The mock does what the header `X-Lk-Mock`
// of a request says; a forward proxy, which also leads the names of LiveKit Cloud to this machine, puts it on.

const { CreateRoomRequest } = require('@livekit/protocol');
const { startTestServer } = require('../../test-support/livekit-server.js');
const { startCaller } = require('./support/processes.js');
const { startProxy } = require('./support/proxy.js');
const { pause } = require('./support/wait.js');

/** Below it a call makes one attempt. */
const LEAST_BUDGET_MS = 5000;
const BACKOFF_MS = 200;

describe('a project of LiveKit Cloud', () => {
  /** @type {Awaited<ReturnType<typeof startTestServer>>} */
  let mock;
  /** @type {Awaited<ReturnType<typeof startProxy>>} */
  let proxy;
  /** @type {Awaited<ReturnType<typeof startCaller>>[]} */
  const callers = [];
  /** What the mock is told. @type {Record<string, unknown>} */
  let directive;
  /** How long its answer to `/settings/regions` may be kept. */
  let cacheControl = '';

  beforeAll(async () => {
    mock = await startTestServer({ advertiseHost: 'http://acme.livekit.cloud' });
    proxy = await startProxy({
      add: () => ({ 'x-lk-mock': JSON.stringify(directive) }),
      answer: (path) => (path === '/settings/regions' && cacheControl ? { 'cache-control': cacheControl } : {}),
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
    await Promise.all(callers.splice(0).map((caller) => caller.stop()));
  });

  /** A new process, which knows no regions yet. @param {import('../../index.js').PlatformOptions} [more] @param {string} [host] */
  async function open(more, host = 'acme.livekit.cloud') {
    const { apiKey, apiSecret, ports } = mock;
    const options = { url: `http://${host}:${ports[0]}`, apiKey, apiSecret, ...more };
    const caller = await startCaller(options, { HTTP_PROXY: proxy.url });
    callers.push(caller);
    return caller;
  }

  /** Where the requests went: the region's number for a call, `regions N` for the list. */
  function route() {
    return proxy.requests().map(({ host, path }) => {
      const region = mock.ports.indexOf(Number(new URL(`http://${host}`).port));
      return path === '/settings/regions' ? `regions ${region}` : region;
    });
  }

  /** The time between an attempt's end and the next one's begin. */
  function pauses() {
    const attempts = proxy.requests('CreateRoom');
    return attempts.slice(1).map(({ at }, index) => at - /** @type {number} */ (attempts[index].answeredAt));
  }

  describe('that is well', () => {
    test('[1] answers at the first attempt', async () => {
      const caller = await open();
      expect(await caller.run('createRoom', 'huddle:1')).toMatchObject({ value: { name: 'huddle:1', active: true } });
      expect(proxy.requests()).toMatchObject([{ method: 'CreateRoom', path: '/twirp/livekit.RoomService/CreateRoom', status: 200 }]);
      expect(route()).toEqual([0]);
    });

    test('[14] gets all settings of a room, and gives them back', async () => {
      const caller = await open();
      const settings = { maxParticipants: 7, emptyTimeoutSecs: 120, departureTimeoutSecs: 30, metadata: '{"a":"é"}' };
      expect((await caller.run('createRoom', 'all', settings)).value).toMatchObject({ name: 'all', maxParticipants: 7 });
      expect(CreateRoomRequest.fromBinary(proxy.requests()[0].body).toJson()).toEqual({
        name: 'all',
        maxParticipants: 7,
        emptyTimeout: 120,
        departureTimeout: 30,
        metadata: '{"a":"é"}',
      });
    });

    test('[14] is told that one time-out means both', async () => {
      const caller = await open();
      await caller.run('createRoom', 'both', { emptyTimeoutSecs: 120 });
      await caller.run('createRoom', 'neither', { departureTimeoutSecs: 5 });
      expect(proxy.requests().map(({ body }) => CreateRoomRequest.fromBinary(body).toJson())).toEqual([
        { name: 'both', emptyTimeout: 120, departureTimeout: 120 },
        { name: 'neither', departureTimeout: 5 },
      ]);
    });

    test('[16] has its rooms read, and those of old servers', async () => {
      const caller = await open();
      directive = {
        response: {
          rooms: [
            { name: 'b', numParticipants: 2, maxParticipants: 9, creationTime: '5', creationTimeMs: '5123', turnPassword: 'hush' },
            { name: 'a', creationTime: '5' },
          ],
        },
      };
      expect((await caller.run('listRooms')).value).toEqual([
        { name: 'a', numParticipants: 0, maxParticipants: 0, createdAt: 5000, active: true },
        { name: 'b', numParticipants: 2, maxParticipants: 9, createdAt: 5123, active: true },
      ]);
      directive = {};
      expect((await caller.run('listRooms')).value).toHaveLength(1);
    });

    test('[16] has its participants read, whatever their state and tracks', async () => {
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

  describe('of which regions fail', () => {
    test('[2] answers from the second', async () => {
      directive = { failRegions: [0] };
      const caller = await open();
      expect(await caller.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 1]);
      expect(pauses()[0]).toBeGreaterThanOrEqual(BACKOFF_MS - 5);
    });

    test('[3] answers from the third, after pauses that double', async () => {
      directive = { failRegions: [0, 1] };
      const caller = await open();
      expect(await caller.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      const [first, second] = pauses();
      expect(first).toBeGreaterThanOrEqual(BACKOFF_MS - 5);
      expect(second).toBeGreaterThanOrEqual(2 * BACKOFF_MS - 5);
      expect(first + second).toBeLessThan(2000);
    });

    test('[4] gives the server’s error after three attempts', async () => {
      directive = { failRegions: [0, 1, 2, 3] };
      const caller = await open();
      expect(await caller.run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503, retryable: true } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
    });

    test.each([
      [500, 'internal'],
      [502, undefined],
      [504, undefined],
    ])('[2] answers from the second also where the first fails with %d', async (failStatus, failTwirpCode) => {
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

    test('[6] answers from the second where the first drops the connection', async () => {
      directive = { failRegions: [0], failMode: 'drop' };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 1]);
    });

    test('[7] gives the first error where it does not tell its regions', async () => {
      directive = { failRegions: [0], regionsStatus: 500 };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
      expect(route()).toEqual([0, 'regions 0']);
    });

    test.each(['listRooms', 'deleteRoom', 'listParticipants', 'removeParticipant'])('[2] answers %s from the second', async (method) => {
      directive = { failRegions: [0] };
      const args = { listRooms: [], removeParticipant: ['r', 'ann'] }[method] ?? ['r'];
      const outcome = await (await open()).run(method, ...args);
      expect(outcome.error).toBeUndefined();
      expect(route()).toEqual([0, 'regions 0', 1]);
    });

    test.each(['acme.livekit.run', 'acme.region.livekit.cloud', 'ACME.LiveKit.Cloud'])('[2] fails over from the host %s', async (host) => {
      directive = { failRegions: [0] };
      expect(await (await open({}, host)).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      // The list names region 0 by another host.
      expect(route().filter(Number.isInteger).at(-1)).toBe(1);
    });

    test.each(['livekit.example.com', 'acme.livekit.cloud.example.com', 'notlivekit.cloud'])(
      '[8] does not fail over from the host %s, which is not Cloud’s',
      async (host) => {
        directive = { failRegions: [0] };
        expect(await (await open({}, host)).run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
        expect(route()).toEqual([0]);
      },
    );
  });

  describe('that is slow', () => {
    test('[10] answers from the second region within half of the time', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { value, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: LEAST_BUDGET_MS });
      expect(value).toMatchObject({ name: 'r' });
      expect(route()).toEqual([0, 'regions 0', 1]);
      expect(ms).toBeGreaterThan(LEAST_BUDGET_MS / 2);
      expect(ms).toBeLessThan(LEAST_BUDGET_MS / 2 + 1000);
    });

    test('[10, 31] answers from the third within the whole time', async () => {
      directive = { failRegions: [0, 1], failMode: 'delay' };
      const { value, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: LEAST_BUDGET_MS });
      expect(value).toMatchObject({ name: 'r' });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      expect(ms).toBeLessThan(LEAST_BUDGET_MS);
    });

    test('[31] times out when the whole time is over, wherever it is slow', async () => {
      directive = { failRegions: [0, 1, 2, 3], failMode: 'delay' };
      const { error, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: LEAST_BUDGET_MS });
      expect(error).toMatchObject({ code: 'TIMEOUT', retryable: true });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 2]);
      expect(ms).toBeGreaterThan(LEAST_BUDGET_MS - 5);
      expect(ms).toBeLessThan(LEAST_BUDGET_MS + 500);
    });

    test('[11] gets one attempt of a call with little time', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { error, ms } = await (await open()).run('createRoom', 'r', {}, { timeoutMs: 300 });
      expect(error).toMatchObject({ code: 'TIMEOUT', retryable: true });
      expect(route()).toEqual([0]);
      expect(ms).toBeGreaterThan(295);
      expect(ms).toBeLessThan(1000);
    });

    test('[11] gets more than one from five seconds on', async () => {
      directive = { failRegions: [0] };
      const caller = await open();
      const less = await caller.run('createRoom', 'r', {}, { timeoutMs: LEAST_BUDGET_MS - 1 });
      expect(less).toMatchObject({ error: { code: 'UNAVAILABLE', upstreamStatus: 503 } });
      expect(route()).toEqual([0]);
      expect(await caller.run('createRoom', 'r', {}, { timeoutMs: LEAST_BUDGET_MS })).toMatchObject({ value: { name: 'r' } });
    });

    test('[11] counts the configured time as a call’s own', async () => {
      directive = { failRegions: [0] };
      const caller = await open({ timeoutMs: LEAST_BUDGET_MS - 1 });
      expect(await caller.run('createRoom', 'r')).toMatchObject({ error: { code: 'UNAVAILABLE' } });
      expect(route()).toEqual([0]);
    });

    test('[31] is not asked again by a call that was given up', async () => {
      directive = { failRegions: [0], failMode: 'delay' };
      const { error, ms } = await (await open()).runUntil(300, 'createRoom', 'r', {}, {});
      expect(error).toMatchObject({ code: 'ABORTED', retryable: false });
      expect(ms).toBeLessThan(1000);
      await pause(1000);
      expect(route()).toEqual([0]);
      expect(proxy.requests()[0].brokenOff).toBe(true);
    });
  });

  describe('that is pinned to regions', () => {
    test.each([
      [['region-1'], 1],
      [['region-3'], 3],
    ])('[12] answers from one of them: %j', async (pinnedRegions, region) => {
      directive = { pinnedRegions };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', region]);
      expect(proxy.requests().map(({ status }) => status)).toEqual([451, 200, 200]);
    });

    test('[12] is asked for its regions anew, though they are known', async () => {
      cacheControl = 'max-age=60';
      directive = { failRegions: [0] };
      const caller = await open();
      await caller.run('createRoom', 'r');
      proxy.clear();
      directive = { pinnedRegions: ['region-2'] };
      expect(await caller.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route()).toEqual([0, 'regions 0', 2]);
    });

    test('[12] fails over among them', async () => {
      directive = { pinnedRegions: ['region-1', 'region-3'], failRegions: [1] };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
      expect(route().filter(Number.isInteger)).toEqual([0, 1, 3]);
    });

    test('[12] refuses where none of them is left', async () => {
      directive = { pinnedRegions: ['region-9'] };
      const refused = { code: 'PERMISSION_DENIED', upstreamStatus: 451, retryable: false };
      expect(await (await open()).run('createRoom', 'r')).toMatchObject({ error: refused });
      expect(route()).toEqual([0, 'regions 0']);
    });
  });

  describe('grants', () => {
    test.each([
      ['createRoom', 'CreateRoom', ['r'], { roomCreate: true }],
      ['deleteRoom', 'DeleteRoom', ['r'], { roomCreate: true }],
      ['listRooms', 'ListRooms', [], { roomList: true }],
      ['listParticipants', 'ListParticipants', ['r'], { roomAdmin: true, room: 't:r' }],
      ['removeParticipant', 'RemoveParticipant', ['r', 'ann'], { roomAdmin: true, room: 't:r' }],
    ])('[13] for %s are exactly those it needs, for one minute', async (method, twirp, args, video) => {
      const before = Math.floor(Date.now() / 1000);
      const outcome = await (await open({ roomPrefix: 't:' })).run(method, ...args);
      expect(outcome.error).toBeUndefined();
      const [{ claims, status }] = proxy.requests(twirp);
      expect(status).toBe(200);
      expect(claims).toEqual({ iss: mock.apiKey, nbf: expect.any(Number), exp: expect.any(Number), video });
      expect(claims.nbf).toBeGreaterThanOrEqual(before);
      expect(claims.exp - claims.nbf).toBe(60);
    });

    test('[28] with a wrong secret are refused once, and never tried elsewhere', async () => {
      const caller = await open({ apiSecret: 'not-the-secret' });
      // The mock answers in Twirp where LiveKit answers in plain text.
      expect(await caller.run('listRooms')).toMatchObject({ error: { code: 'PERMISSION_DENIED', upstreamStatus: 401, retryable: false } });
      expect(route()).toEqual([0]);
    });
  });

  describe('request ids', () => {
    const id = (/** @type {import('./support/proxy.js').Seen} */ { headers }) => headers['x-livekit-request-id'];

    test('[30] differ between calls, and are the same for all that one call asks', async () => {
      directive = { failRegions: [0, 1] };
      const caller = await open();
      await caller.run('createRoom', 'r');
      const first = new Set(proxy.requests().map(id));
      expect(first.size).toBe(1);
      proxy.clear();
      await caller.run('createRoom', 'r');
      const second = new Set(proxy.requests().map(id));
      expect(second.size).toBe(1);
      expect([...second][0]).toMatch(/^[\w-]{16,}$/);
      expect(second).not.toEqual(first);
    });

    test('[30] stand in the error', async () => {
      directive = { failRegions: [0], failStatus: 400 };
      const { error } = await (await open()).run('createRoom', 'r');
      expect(error.requestId).toBe(id(proxy.requests()[0]));
    });

    test('[2] go with the token to the list of regions', async () => {
      directive = { failRegions: [0] };
      await (await open()).run('createRoom', 'r');
      const [first, list, second] = proxy.requests();
      // Each attempt is signed anew, so that only the times may differ.
      const { iss, video } = first.claims;
      expect(list).toMatchObject({ path: '/settings/regions', claims: { iss, video } });
      expect(second.claims).toMatchObject({ iss, video });
      expect(second.body.equals(first.body)).toBe(true);
    });
  });

  describe('its list of regions', () => {
    const lists = () => route().filter((stop) => typeof stop === 'string').length;

    test('[31] is asked for once, and kept as long as it says', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=1';
      const caller = await open();
      await caller.run('createRoom', 'r');
      await caller.run('createRoom', 'r');
      expect(lists()).toBe(1);
      await pause(1100);
      await caller.run('createRoom', 'r');
      expect(lists()).toBe(2);
    });

    test('[31] is asked for at each need where it may not be kept', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=0';
      const caller = await open();
      await caller.run('createRoom', 'r');
      await caller.run('createRoom', 'r');
      expect(lists()).toBe(2);
    });

    test('[31] is asked for once for three attempts of one call', async () => {
      directive = { failRegions: [0, 1] };
      cacheControl = 'max-age=60';
      await (await open()).run('createRoom', 'r');
      expect(route()).toEqual([0, 'regions 0', 1, 2]);
    });

    test('[31] serves on when it is old and cannot be had anew', async () => {
      directive = { failRegions: [0] };
      cacheControl = 'max-age=1';
      const caller = await open();
      await caller.run('createRoom', 'r');
      await pause(1100);
      directive = { failRegions: [0], regionsStatus: 500 };
      expect(await caller.run('createRoom', 'r')).toMatchObject({ value: { name: 'r' } });
    });
  });
});
