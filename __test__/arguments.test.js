'use strict';

require('./support/environment.js');
const { MediaError } = require('../index.js');
const { BAD_ATTRIBUTES, BAD_SIGNALS, BAD_SOURCES, BAD_TEXTS, NO_BOOLEANS, badNames, badNumbers, badRecords } = require('./support/bad-values.js');
const { failureOf } = require('./support/failure.js');
const { FaultServer } = require('./support/fault-server.js');
const { providers } = require('./support/media.js');
const { COLUMNS, ormUser } = require('./support/records.js');
const { listening } = require('./support/sockets.js');
const { readToken } = require('./support/token.js');

const U32 = 2 ** 32 - 1;
const MAX_TTL_SECS = 2_592_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const ann = { identity: 'ann', name: 'Ann' };

/** Nobody is there to be removed, and a server of the tests does not mind. */
function unlessGone(error) {
  if (error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
}

describe.each(providers)('on $name', ({ open }) => {
  /** @type {FaultServer} */
  let server;
  /** @type {import('../index.js').MediaService} */
  let media;
  /** The same, with a prefix of four bytes. */
  let prefixed;
  /** The ports that are listened on while no call was right. */
  let before;

  beforeAll(async () => {
    server = await FaultServer.start();
    media = open(server.url);
    prefixed = open(server.url, { roomPrefix: 'app:' });
    before = listening();
  });

  afterAll(() => server.close());

  /** Each method, as a call with one argument replaced. */
  const withRoom = {
    createRoom: (roomId, from = media) => from.createRoom(roomId),
    deleteRoom: (roomId, from = media) => from.deleteRoom(roomId),
    generateToken: (roomId, from = media) => from.generateToken(roomId, ann),
    listParticipants: (roomId, from = media) => from.listParticipants(roomId),
    removeParticipant: (roomId, from = media) => from.removeParticipant(roomId, 'ann'),
  };

  const withOptions = {
    createRoom: (options) => media.createRoom('room', {}, options),
    deleteRoom: (options) => media.deleteRoom('room', options),
    listRooms: (options) => media.listRooms(options),
    generateToken: (options) => media.generateToken('room', ann, options),
    mediaUrl: (options) => media.mediaUrl(options),
    listParticipants: (options) => media.listParticipants('room', options),
    removeParticipant: (options) => media.removeParticipant('room', 'ann', options).catch(unlessGone),
  };

  /** Without `null`, which a database row has for "not set". */
  const exceptNull = ({ null: _, ...rest }) => rest;

  const settingsFields = {
    maxParticipants: exceptNull(badNumbers(0, U32)),
    emptyTimeoutSecs: exceptNull(badNumbers(0, U32)),
    departureTimeoutSecs: exceptNull(badNumbers(0, U32)),
    metadata: exceptNull(BAD_TEXTS),
  };

  const participantFields = {
    identity: badNames(),
    name: exceptNull(BAD_TEXTS),
    canPublish: NO_BOOLEANS,
    canSubscribe: NO_BOOLEANS,
    canPublishData: NO_BOOLEANS,
    canPublishSources: BAD_SOURCES,
    canUpdateOwnMetadata: NO_BOOLEANS,
    hidden: NO_BOOLEANS,
    metadata: exceptNull(BAD_TEXTS),
    attributes: exceptNull(BAD_ATTRIBUTES),
    ttlSecs: exceptNull(badNumbers(1, MAX_TTL_SECS)),
    roomSettings: badRecords({}, ['maxParticipants', 'metadata']),
  };

  /** @type {[string, Record<string, unknown>, (value: any) => Promise<unknown>, operation: string][]} */
  const parameters = [
    ...Object.entries(withRoom).flatMap(([method, call]) => [
      [`${method} roomId`, { ...badNames(), undefined }, call, method],
      [`${method} roomId behind a prefix`, { ...badNames(4), undefined }, (value) => call(value, prefixed), method],
    ]),
    ['removeParticipant identity', { ...badNames(), undefined }, (value) => media.removeParticipant('room', value), 'removeParticipant'],
    ['createRoom settings', badRecords({}, ['maxParticipants', 'emptyTimeoutSecs', 'metadata']), (value) => media.createRoom('room', value), 'createRoom'],
    ...Object.entries(settingsFields).flatMap(([field, bad]) => [
      [`createRoom settings.${field}`, bad, (value) => media.createRoom('room', { [field]: value }), 'createRoom'],
      [`generateToken participant.roomSettings.${field}`, bad, (value) => media.generateToken('room', { ...ann, roomSettings: { [field]: value } }), 'generateToken'],
    ]),
    ['generateToken participant', { ...badRecords(ann, Object.keys(participantFields)), undefined }, (value) => media.generateToken('room', value), 'generateToken'],
    ...Object.entries(participantFields).map(([field, bad]) => [
      `generateToken participant.${field}`,
      field === 'identity' ? { ...bad, undefined } : bad,
      (value) => media.generateToken('room', { ...ann, [field]: value }),
      'generateToken',
    ]),
    ...Object.entries(withOptions).flatMap(([method, call]) => [
      [`${method} options`, badRecords({}, ['signal', 'timeoutMs']), call, method],
      [`${method} options.signal`, method === 'generateToken' || method === 'mediaUrl' ? withoutListening(BAD_SIGNALS) : BAD_SIGNALS, (signal) => call({ signal }), method],
      [`${method} options.timeoutMs`, badNumbers(1, MAX_TIMEOUT_MS), (timeoutMs) => call({ timeoutMs }), method],
    ]),
  ];

  /** A call that has nothing to wait for never listens. */
  function withoutListening({ 'one whose addEventListener throws': _, ...rest }) {
    return rest;
  }

  /** What a call rejects with; a call that throws, or gives no promise, fails the test. */
  async function rejectionOf(call, value) {
    const promise = call(value);
    expect(typeof promise?.then).toBe('function');
    return failureOf(promise);
  }

  describe('a bad argument', () => {
    describe.each(parameters)('%s', (_, bad, call, operation) => {
      test('has at least 24 bad values', () => {
        expect(Object.keys(bad).length).toBeGreaterThanOrEqual(24);
      });

      test.each(Object.entries(bad))('is refused: %s', async (__, value) => {
        const error = await rejectionOf(call, value);
        expect(error).toBeInstanceOf(MediaError);
        expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', operation, retryable: false });
        expect(error).not.toHaveProperty('upstreamStatus');
        expect(error).not.toHaveProperty('requestId');
      });
    });

    test('never reaches the network, and starts nothing', () => {
      expect(server.connections).toBe(0);
      expect(listening()).toEqual(before);
    });
  });

  describe('a misspelt restriction', () => {
    const restrictions = { canPublish: 2, canSubscribe: 2, canPublishData: 2, canPublishSources: 2, hidden: 1, ttlSecs: 1 };

    /** Every key that one deletion, insertion, substitution or change of case makes of `name`. */
    function slips(name) {
      const keys = new Set([name.toLowerCase(), name.toUpperCase(), name.replaceAll(/[A-Z]/g, '_$&').toLowerCase(), name.replaceAll(/[A-Z]/g, '-$&'), `_${name}`]);
      for (let i = 0; i <= name.length; i += 1) {
        const [before, after] = [name.slice(0, i), name.slice(i)];
        keys.add(`${before}x${after}`).add(`${before}${after.slice(1)}`).add(`${before}é${after.slice(1)}`).add(`${before}${after.charAt(0)}${after}`);
      }
      return [...keys].filter((key) => !(key in restrictions));
    }

    test.each(Object.entries(restrictions))('%s is rejected, and the message names the intended field', async (name, edits) => {
      const keys = slips(name);
      // Two edits, the second one at the first letter, where typos are least likely.
      if (edits === 2) keys.push(...keys.map((key) => `q${key}`), `${name.slice(0, -2)}`, `${name.slice(1)}s`);
      for (const key of keys.filter((each) => !(each in restrictions))) {
        const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [key]: false });
        expect([key, error.code, error.operation]).toEqual([key, 'INVALID_ARGUMENT', 'generateToken']);
        expect(error.message).toContain(JSON.stringify(key).slice(1, -1));
        expect(Object.keys(restrictions).some((each) => error.message.includes(`did you mean ${each}?`))).toBe(true);
      }
    });

    test.each([
      ['canPublsh', 'canPublish'],
      ['can_publish', 'canPublish'],
      ['CanPublish', 'canPublish'],
      ['canPublishDat', 'canPublishData'],
      ['can-publish-data', 'canPublishData'],
      ['canSubscirbe', 'canSubscribe'],
      ['canPublishSource', 'canPublishSources'],
      ['Hidden', 'hidden'],
      ['hiden', 'hidden'],
      ['ttlSec', 'ttlSecs'],
      ['ttl_secs', 'ttlSecs'],
    ])('%s: the message names %s', async (key, near) => {
      const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [key]: false });
      expect(error.message).toContain(`participant.${key}`);
      expect(error.message).toContain(`did you mean ${near}?`);
    });

    test('shows a key with a line break in one line', async () => {
      const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, 'canPublish\n': false });
      expect(error.message).not.toContain('\n');
    });

    test.each([
      ['maxParticipant', 'maxParticipants'],
      ['maxparticipants', 'maxParticipants'],
      ['max_participants', 'maxParticipants'],
      ['emptyTimeoutSec', 'emptyTimeoutSecs'],
      ['emptyTimeoutsecs', 'emptyTimeoutSecs'],
      ['departureTimeoutSec', 'departureTimeoutSecs'],
    ])('settings.%s is refused, in createRoom and in a token', async (key, near) => {
      const settings = { [key]: 1 };
      for (const error of [
        await rejectionOf((value) => media.createRoom('room', value), settings),
        await rejectionOf((value) => media.generateToken('room', { ...ann, roomSettings: value }), settings),
      ]) {
        expect(error.code).toBe('INVALID_ARGUMENT');
        expect(error.message).toContain(near);
      }
    });

    test.each([
      ['timeoutMS', 'timeoutMs'],
      ['timeout', 'timeoutMs'],
      ['timeout_ms', 'timeoutMs'],
      ['signals', 'signal'],
      ['Signal', 'signal'],
    ])('options.%s is refused by every method', async (key, near) => {
      for (const call of Object.values(withOptions)) {
        const error = await rejectionOf(call, { [key]: 1 });
        expect(error.code).toBe('INVALID_ARGUMENT');
        expect(error.message).toContain(near);
      }
    });

    test('is refused also where a class has it, and where its value is undefined', async () => {
      class Guest {
        identity = 'ann';
        name = 'Ann';
        canPublsh = undefined;
      }
      expect((await rejectionOf((guest) => media.generateToken('room', guest), new Guest())).code).toBe('INVALID_ARGUMENT');
      const inherited = Object.assign(Object.create({ canPublsh: false }), ann);
      expect((await rejectionOf((guest) => media.generateToken('room', guest), inherited)).code).toBe('INVALID_ARGUMENT');
    });

    test('never reaches the network, and starts nothing', () => {
      expect(server.connections).toBe(0);
      expect(listening()).toEqual(before);
    });
  });

  describe('a whole record', () => {
    /** The claims of the token of `ann`, without its times. */
    const claimsOf = async (participant) => {
      const { nbf: _, exp: __, maravilla: ___, ...claims } = readToken((await media.generateToken('room', participant)).token).claims;
      return claims;
    };

    test('of an ORM, with all its columns and relations, gives the token that identity and name give', async () => {
      const record = ormUser();
      expect(Object.keys(record).length).toBeGreaterThanOrEqual(30);
      expect(await claimsOf(record)).toEqual(await claimsOf(ann));
      expect(await claimsOf(Object.assign(Object.create({ createdBy: null, age: 41 }), record))).toEqual(await claimsOf(ann));
    });

    test('of an ORM serves as settings of a room, too', async () => {
      await media.deleteRoom('room');
      const { identity: _, ...record } = ormUser();
      expect(await media.createRoom('room', { ...record, maxParticipants: null })).toMatchObject({ maxParticipants: 0 });
    });

    test.each(COLUMNS)('may have a column %s, whatever it holds', async (column) => {
      for (const value of [null, undefined, false, 0, 7, 1n, '', 'text', new Date(0), [], {}, () => {}]) {
        await media.generateToken('room', { ...ann, [column]: value });
      }
    });

    test('may have a column whose name ends like a restriction begins, or is much longer', async () => {
      for (const name of ['canPublish', 'canSubscribe', 'canPublishData', 'canPublishSources', 'hidden', 'ttlSecs']) {
        for (const column of [`user${name}`, `${name}ByDefault`, `${name} and more`, `${name}${'x'.repeat(1000)}`]) {
          await media.generateToken('room', { ...ann, [column]: null });
        }
      }
    });

    /** Minimum processor time of several runs of `run`, in milliseconds. */
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
      ['a key of 1 MB that is nothing but underscores', () => '_'.repeat(1_000_000), 1],
    ])('that has %s of a request blocks for about as long as it takes to list them', (_, keyOf, count) => {
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
    test.each(['name', 'metadata', 'attributes', 'ttlSecs'])('is an absent %s', async (field) => {
      const { token, expiresAt } = await media.generateToken('room', { ...ann, [field]: null });
      const { claims } = readToken(token);
      const { claims: without } = readToken((await media.generateToken('room', { ...ann, [field]: undefined })).token);
      expect(Object.keys(claims)).toEqual(Object.keys(without));
      expect(claims[field]).toBe(without[field]);
      expect(expiresAt).toBe(claims.exp * 1000);
      expect(claims.exp - claims.nbf).toBe(21_600);
    });

    test.each(Object.keys(settingsFields))('is an absent %s of a room', async (field) => {
      await media.deleteRoom('room');
      expect(await media.createRoom('room', { [field]: null })).toMatchObject({ maxParticipants: 0 });
      const { token } = await media.generateToken('room', { ...ann, roomSettings: { [field]: null } });
      const { token: without } = await media.generateToken('room', { ...ann, roomSettings: {} });
      expect(readToken(token).claims.roomConfig).toEqual(readToken(without).claims.roomConfig);
    });

    test.each(['identity', 'canPublish', 'canSubscribe', 'canPublishData', 'canPublishSources', 'canUpdateOwnMetadata', 'hidden', 'roomSettings'])('is a wrong %s', async (field) => {
      const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [field]: null });
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.message).toContain(`participant.${field}`);
      expect(error.message).toContain('got null');
    });
  });

  describe('a getter', () => {
    /** A record whose fields count how often they are read. */
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

    test('is read once, so that nothing else can be there when it is used', async () => {
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

    test('that changes its answer cannot widen what the token allows', async () => {
      let reads = 0;
      const sources = Object.defineProperty(['camera'], 0, { get: () => (reads++ === 0 ? 'camera' : 'screen_share') });
      const { token } = await media.generateToken('room', { ...ann, canPublishSources: sources });
      expect(readToken(token).claims.video.canPublishSources).toEqual(['camera']);
    });

    test('of a key that is ignored is not called', async () => {
      const record = Object.defineProperty({ ...ann }, 'posts', {
        enumerable: true,
        get() {
          throw new Error('a lazy relation was loaded');
        },
      });
      await media.generateToken('room', record);
    });

    test("that throws is the error's cause", async () => {
      const cause = new Error('broken record');
      const record = {
        get identity() {
          throw cause;
        },
      };
      expect(await rejectionOf((value) => media.generateToken('room', value), record)).toMatchObject({ code: 'INVALID_ARGUMENT', cause });
    });
  });

  describe('a good edge value passes', () => {
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
      'what a template would fill': '${a} {{b}} %s',
      '__proto__': '__proto__',
    };

    test.each(Object.entries(names))('as room and identity: %s', async (_, name) => {
      expect((await media.createRoom(name)).name).toBe(name);
      const { token } = await media.generateToken(name, { identity: name, name });
      expect(readToken(token).claims).toMatchObject({ sub: name, name, video: { room: name } });
      await media.listParticipants(name);
      await media.removeParticipant(name, name).catch(unlessGone);
      await media.deleteRoom(name);
    });

    test('as room behind a prefix: 256 bytes together', async () => {
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
      [Object.fromEntries([...Object.keys(participantFields).map((field) => [field, undefined]), ...Object.entries(ann)])],
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
      ['the largest budget', () => ({ timeoutMs: MAX_TIMEOUT_MS })],
      ['a signal', () => ({ signal: new AbortController().signal })],
      ['a signal of another realm', () => ({ signal: require('node:vm').runInNewContext('({ aborted: false, reason: undefined, addEventListener() {}, removeEventListener() {} })') })],
      ['extra keys', () => ({ retries: 3, headers: {} })],
      ['frozen', () => Object.freeze({ timeoutMs: 10_000 })],
    ])('as options: %s', async (_, options) => {
      for (const call of Object.values(withOptions)) await call(options());
    });
  });
});
