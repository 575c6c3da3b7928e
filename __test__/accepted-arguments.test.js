'use strict';

// Arguments that are accepted: database records, null, getters, and values at the limits.

require('./support/environment.js');
const { ann, rejectionOf, withOptions } = require('./support/argument-calls.js');
const { FaultServer } = require('./support/fault-server.js');
const { mediaAt } = require('./support/media.js');
const { COLUMNS, ormUser } = require('./support/records.js');
const { readToken } = require('./support/token.js');

const U32 = 2 ** 32 - 1;
const MAX_TTL_SECS = 2_592_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const RESTRICTIONS = ['canPublish', 'canSubscribe', 'canPublishData', 'canPublishSources', 'hidden', 'ttlSecs'];
const PARTICIPANT_FIELDS = ['identity', 'name', ...RESTRICTIONS, 'canUpdateOwnMetadata', 'metadata', 'attributes', 'roomSettings'];

/** @type {FaultServer} */
let server;
/** @type {import('../index.js').MediaService} */
let media;
/** With a room prefix of four bytes. */
let prefixed;

beforeAll(async () => {
  server = await FaultServer.start();
  media = mediaAt(server.url);
  prefixed = mediaAt(server.url, { roomPrefix: 'app:' });
});

afterAll(() => server.close());

describe('a database record', () => {
  /** The claims of a token for that participant, without its times. */
  const claimsOf = async (participant) => {
    const { nbf: _, exp: __, maravilla: ___, ...claims } = readToken((await media.generateToken('room', participant)).token).claims;
    return claims;
  };

  test('with all columns and relations gives the same token as its identity and name', async () => {
    const record = ormUser();
    expect(Object.keys(record).length).toBeGreaterThanOrEqual(30);
    expect(await claimsOf(record)).toEqual(await claimsOf(ann));
    expect(await claimsOf(Object.assign(Object.create({ createdBy: null, age: 41 }), record))).toEqual(await claimsOf(ann));
  });

  test('can be the settings of a room', async () => {
    await media.deleteRoom('room');
    const { identity: _, ...record } = ormUser();
    expect(await media.createRoom('room', { ...record, maxParticipants: null })).toMatchObject({ maxParticipants: 0 });
  });

  test.each(COLUMNS)('may have a column %s with any value', async (column) => {
    for (const value of [null, undefined, false, 0, 7, 1n, '', 'text', new Date(0), [], {}, () => {}]) {
      await media.generateToken('room', { ...ann, [column]: value });
    }
  });

  test('may have columns whose names only contain a restriction', async () => {
    for (const name of RESTRICTIONS) {
      for (const column of [`user${name}`, `${name}ByDefault`, `${name} and more`, `${name}${'x'.repeat(1000)}`]) {
        await media.generateToken('room', { ...ann, [column]: null });
      }
    }
  });

  /** Minimum CPU time of several runs, in ms. */
  function costOf(run) {
    const costs = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      run();
      return process.cpuUsage(before).user / 1000;
    });
    return Math.min(...costs);
  }

  /** Keys with the letters of `canPublish` that are more than two edits away from it. */
  const shuffled = (i) => `hsil${String(i).padStart(6, '0').replaceAll(/\d/g, (digit) => 'canpublish'[digit])}`;

  test.each([
    ['100,000 keys', (i) => `key${i}`, 100_000],
    ['100,000 keys with the letters of a permission', shuffled, 100_000],
    ['100,000 keys as long as a permission', (i) => `c${String(i).padStart(9, 'n')}`, 100_000],
    ['a key of 1 MB', () => 'canPublish'.repeat(100_000), 1],
    ['a key of 1 MB of underscores', () => '_'.repeat(1_000_000), 1],
  ])('with %s takes about as long to validate as to enumerate', (_, keyOf, count) => {
    const record = { ...Object.fromEntries(Array.from({ length: count }, (__, i) => [keyOf(i), i])), ...ann };
    const list = costOf(() => {
      let seen = 0;
      for (const key in record) seen += key.length;
      return seen;
    });
    const mint = costOf(() => void media.generateToken('room', record));
    expect(mint).toBeLessThan(4 * list + 20);
  });
});

describe('null', () => {
  test.each(['name', 'metadata', 'attributes', 'ttlSecs'])('is treated as an absent %s', async (field) => {
    const { token, expiresAt } = await media.generateToken('room', { ...ann, [field]: null });
    const { claims } = readToken(token);
    const { claims: without } = readToken((await media.generateToken('room', { ...ann, [field]: undefined })).token);
    expect(Object.keys(claims)).toEqual(Object.keys(without));
    expect(claims[field]).toBe(without[field]);
    expect(expiresAt).toBe(claims.exp * 1000);
    expect(claims.exp - claims.nbf).toBe(21_600);
  });

  test.each(['maxParticipants', 'emptyTimeoutSecs', 'departureTimeoutSecs', 'metadata'])('is treated as an absent %s of a room', async (field) => {
    await media.deleteRoom('room');
    expect(await media.createRoom('room', { [field]: null })).toMatchObject({ maxParticipants: 0 });
    const { token } = await media.generateToken('room', { ...ann, roomSettings: { [field]: null } });
    const { token: without } = await media.generateToken('room', { ...ann, roomSettings: {} });
    expect(readToken(token).claims.roomConfig).toEqual(readToken(without).claims.roomConfig);
  });

  test.each(['identity', 'canPublish', 'canSubscribe', 'canPublishData', 'canPublishSources', 'canUpdateOwnMetadata', 'hidden', 'roomSettings'])('is INVALID_ARGUMENT for %s', async (field) => {
    const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [field]: null });
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain(`participant.${field}`);
  });
});

describe('a getter', () => {
  /** A record, and how often each of its fields has been read. */
  function counting(fields) {
    const reads = {};
    const record = {};
    for (const [key, value] of Object.entries(fields)) {
      Object.defineProperty(record, key, {
        enumerable: true,
        get() {
          reads[key] = (reads[key] ?? 0) + 1;
          return value;
        },
      });
    }
    return { record, reads };
  }

  test('is read once, so that the validated value is the one used', async () => {
    const attributes = counting({ team: 'blue' });
    const settings = counting({ maxParticipants: 2, metadata: 'm' });
    const sources = counting({ 0: 'camera' });
    const participant = counting({
      ...ann,
      canPublish: true,
      canPublishSources: Object.defineProperty([], 0, Object.getOwnPropertyDescriptor(sources.record, 0)),
      attributes: attributes.record,
      roomSettings: settings.record,
      ttlSecs: 5,
    });
    const { token } = await media.generateToken('room', participant.record);
    for (const { reads } of [participant, attributes, settings, sources]) {
      for (const [key, count] of Object.entries(reads)) expect([key, count]).toEqual([key, 1]);
    }
    expect(readToken(token).claims).toMatchObject({ attributes: { team: 'blue' }, video: { canPublishSources: ['camera'] } });
  });

  test('that returns another value later cannot extend the token', async () => {
    let reads = 0;
    const sources = Object.defineProperty(['camera'], 0, { get: () => (reads++ === 0 ? 'camera' : 'screen_share') });
    const { token } = await media.generateToken('room', { ...ann, canPublishSources: sources });
    expect(readToken(token).claims.video.canPublishSources).toEqual(['camera']);
  });

  test('of an ignored key is not called', async () => {
    const record = Object.defineProperty({ ...ann }, 'posts', {
      enumerable: true,
      get() {
        throw new Error('a lazy relation was loaded');
      },
    });
    await media.generateToken('room', record);
  });

  test("that throws: its error is the cause", async () => {
    const cause = new Error('broken record');
    const record = {
      get identity() {
        throw cause;
      },
    };
    expect(await rejectionOf((value) => media.generateToken('room', value), record)).toMatchObject({ code: 'INVALID_ARGUMENT', cause });
  });
});

describe('an edge value is accepted', () => {
  const names = {
    'one byte': 'x',
    '256 bytes': 'x'.repeat(256),
    '256 bytes of two-byte letters': 'é'.repeat(128),
    '256 bytes of emoji': '😀'.repeat(64),
    'a space': ' ',
    marks: 'huddle:1/#?&%+ "\\<>',
    'joined emoji': '👩‍👩‍👧‍👦',
    'right to left': '\u202eabc',
    'a no-break space': '\u00a0',
    'a private-use character': '\u{10ffff}',
    'template syntax': '${a} {{b}} %s',
    '__proto__': '__proto__',
  };

  test.each(Object.entries(names))('as room and identity: %s', async (_, name) => {
    expect((await media.createRoom(name)).name).toBe(name);
    const { token } = await media.generateToken(name, { identity: name, name });
    expect(readToken(token).claims).toMatchObject({ sub: name, name, video: { room: name } });
    await media.listParticipants(name);
    await media.removeParticipant(name, name);
    await media.deleteRoom(name);
  });

  test('as room with a prefix: 256 bytes together', async () => {
    const name = '😀'.repeat(63);
    expect((await prefixed.createRoom(name)).name).toBe(name);
    const { token } = await prefixed.generateToken(name, ann);
    expect(readToken(token).claims.video.room).toBe(`app:${name}`);
  });

  test.each([
    [undefined],
    [{}],
    [{ maxParticipants: undefined, emptyTimeoutSecs: undefined, departureTimeoutSecs: undefined, metadata: undefined }],
    [{ maxParticipants: 0, emptyTimeoutSecs: 0, departureTimeoutSecs: 0, metadata: '' }],
    [{ maxParticipants: -0, emptyTimeoutSecs: -0 }],
    [{ maxParticipants: U32, emptyTimeoutSecs: U32, departureTimeoutSecs: U32 }],
    [{ metadata: '\0 \n 😀'.repeat(1000) }],
    [{ maxParticipants: 1, color: 'blue', emptyTimeout: 3, participants: ['x'] }],
    [Object.freeze({ maxParticipants: 2 })],
    [Object.assign(Object.create(null), { maxParticipants: 2 })],
  ])('as settings: %j', async (settings) => {
    await media.deleteRoom('room');
    const room = await media.createRoom('room', settings);
    expect(room.maxParticipants).toBe((settings?.maxParticipants ?? 0) + 0);
    await media.generateToken('room', { ...ann, roomSettings: settings });
  });

  test.each([
    [{ identity: 'ann', name: '' }],
    [{ identity: 'ann', name: '\0 any \n text 😀' }],
    [{ identity: 'ann', name: 'x'.repeat(100_000) }],
    [Object.fromEntries([...PARTICIPANT_FIELDS.map((field) => [field, undefined]), ...Object.entries(ann)])],
    [{ ...ann, ttlSecs: 1 }],
    [{ ...ann, ttlSecs: MAX_TTL_SECS }],
    [{ ...ann, metadata: '', attributes: {} }],
    [{ ...ann, attributes: { '': '', a: '\0' } }],
    [{ ...ann, attributes: Object.assign(Object.create(null), { a: 'b' }) }],
    [{ ...ann, canPublishSources: ['camera', 'camera'] }],
    [Object.freeze({ ...ann, canPublishSources: Object.freeze(['camera']) })],
    [{ ...ann, id: 1, email: 'ann@example.org', role: 'admin', createdAt: new Date(0), posts: [], balance: 1n, toJSON() {}, [Symbol('s')]: 1, nested: { canFly: true } }],
  ])('as participant: %#', async (participant) => {
    const { token } = await media.generateToken('room', participant);
    expect(readToken(token).claims.sub).toBe('ann');
  });

  test('as participant: an instance of a class, and a proxy of one', async () => {
    class User {
      #id = 'ann';
      get identity() {
        return this.#id;
      }
      get name() {
        return 'Ann';
      }
      greet() {}
    }
    const user = new User();
    const proxy = new Proxy(user, { get: (target, key) => Reflect.get(target, key, target) });
    for (const participant of [user, proxy]) {
      const { token } = await media.generateToken('room', participant);
      expect(readToken(token).claims).toMatchObject({ sub: 'ann', name: 'Ann' });
    }
  });

  test.each([
    ['undefined', () => undefined],
    ['empty', () => ({})],
    ['all undefined', () => ({ signal: undefined, timeoutMs: undefined })],
    ['the largest timeout', () => ({ timeoutMs: MAX_TIMEOUT_MS })],
    ['a signal', () => ({ signal: new AbortController().signal })],
    ['a signal of another realm', () => ({ signal: require('node:vm').runInNewContext('({ aborted: false, reason: undefined, addEventListener() {}, removeEventListener() {} })') })],
    ['extra keys', () => ({ retries: 3, headers: {} })],
    ['frozen', () => Object.freeze({ timeoutMs: 10_000 })],
  ])('as options: %s', async (_, options) => {
    for (const call of Object.values(withOptions)) await call(options(), media);
  });
});
