'use strict';

// The behaviour of every provider without clients. clients.test.js has the tests with clients.

const { roomNames } = require('./support/names.js');
const { expectPlain } = require('./support/plain.js');
const { startApp } = require('./support/processes.js');
const { providers } = require('./support/providers.js');

describe.each(providers)('rooms on $name', ({ start }) => {
  /** @type {import('./support/providers.js').Running} */
  let server;
  /** @type {import('../../index.js').MediaService} */
  let media;

  beforeAll(async () => {
    server = await start();
    media = server.open();
  }, 30_000);
  afterAll(() => server?.stop());

  const namesOf = (/** @type {{ name: string }[]} */ rooms) => rooms.map((room) => room.name);
  const isListed = async (/** @type {string} */ room) => namesOf(await media.listRooms()).includes(room);

  describe('a room', () => {
    test('is returned and listed as created', async () => {
      const before = Date.now();
      const room = await media.createRoom('made', { maxParticipants: 7 });
      expect(room).toEqual({ name: 'made', numParticipants: 0, maxParticipants: 7, createdAt: expect.any(Number), active: true });
      expect(room.createdAt).toBeGreaterThan(before - 1000);
      expect(room.createdAt).toBeLessThan(Date.now() + 1000);
      expect(await media.listRooms()).toContainEqual(room);
    });

    test('has no limit without settings', async () => {
      expect(await media.createRoom('plain')).toMatchObject({ maxParticipants: 0, active: true });
    });

    test.each([0, 1, 2 ** 32 - 1])('accepts %i as its limit', async (maxParticipants) => {
      expect(await media.createRoom(`limit ${maxParticipants}`, { maxParticipants })).toMatchObject({ maxParticipants });
    });

    test('that exists is returned unchanged when it is created again', async () => {
      const first = await media.createRoom('again', { maxParticipants: 3, emptyTimeoutSecs: 60, metadata: 'first' });
      const again = { maxParticipants: 9, emptyTimeoutSecs: 1, departureTimeoutSecs: 1, metadata: 'second' };
      expect(await media.createRoom('again', again)).toEqual(first);
      expect(await media.createRoom('again')).toEqual(first);
      expect(await media.listRooms()).toContainEqual(first);
    });

    test('is created once by 50 concurrent calls', async () => {
      const rooms = await Promise.all(Array.from({ length: 50 }, () => media.createRoom('crowd', { maxParticipants: 5 })));
      for (const room of rooms) expect(room).toEqual(rooms[0]);
      expect(namesOf(await media.listRooms()).filter((name) => name === 'crowd')).toHaveLength(1);
    });

    test('that is unknown is deleted with success', async () => {
      expect(await media.deleteRoom('never made')).toBeUndefined();
      await media.createRoom('twice');
      await media.deleteRoom('twice');
      expect(await media.deleteRoom('twice')).toBeUndefined();
    });

    test('is gone after deleteRoom, and can be created again', async () => {
      const { createdAt } = await media.createRoom('gone', { maxParticipants: 3 });
      await media.deleteRoom('gone');
      expect(await isListed('gone')).toBe(false);
      const again = await media.createRoom('gone', { maxParticipants: 4 });
      expect(again).toMatchObject({ maxParticipants: 4 });
      expect(again.createdAt).toBeGreaterThanOrEqual(createdAt);
    });

    test('has the state of the last of many concurrent creations and deletions', async () => {
      for (const last of ['create', 'delete']) {
        const calls = Array.from({ length: 20 }, (_, index) => {
          const creates = (index % 2 === 0) === (last === 'delete');
          return creates ? media.createRoom('contended') : media.deleteRoom('contended');
        });
        await Promise.all(calls);
        expect(await isListed('contended')).toBe(last === 'create');
      }
    });
  });

  describe('a name', () => {
    test.each(roomNames)('can be %j', async (name) => {
      expect(await media.createRoom(name)).toMatchObject({ name });
      expect(await isListed(name)).toBe(true);
      expect(await media.listParticipants(name)).toEqual([]);
      await media.deleteRoom(name);
      expect(await isListed(name)).toBe(false);
    });
  });

  describe('listRooms', () => {
    test('returns plain objects sorted by name', async () => {
      const names = ['sort b', 'sort a', 'sort 10', 'sort 9', 'sort ￮', 'sort 😀', 'sort Z'];
      await Promise.all(names.map((name) => media.createRoom(name)));
      const rooms = await media.listRooms();
      expect(namesOf(rooms).filter((name) => name.startsWith('sort '))).toEqual([...names].sort());
      expect(namesOf(rooms)).toEqual(namesOf(rooms).sort());
      expectPlain(rooms);
      for (const room of rooms) {
        expect(Object.keys(room).sort()).toEqual(['active', 'createdAt', 'maxParticipants', 'name', 'numParticipants']);
      }
      expectPlain(await media.createRoom('sort a'));
    });
  });

  describe('getRoom', () => {
    test('returns the room as it is listed, and null for an unknown one', async () => {
      const made = await media.createRoom('found', { maxParticipants: 4 });
      await media.createRoom('found too');
      expect(await media.getRoom('found')).toEqual(made);
      expectPlain(await media.getRoom('found'));
      expect(await media.getRoom('not found')).toBeNull();
      await media.deleteRoom('found');
      expect(await media.getRoom('found')).toBeNull();
    });
  });

  describe('updateRoom', () => {
    test('returns the room', async () => {
      const made = await media.createRoom('changed', { maxParticipants: 4, metadata: 'first' });
      for (const metadata of ['second', '', '😀'.repeat(1000)]) expect(await media.updateRoom('changed', { metadata })).toEqual(made);
    });

    test('of an unknown room is ROOM_NOT_FOUND', async () => {
      const failure = { code: 'ROOM_NOT_FOUND', operation: 'updateRoom', retryable: false };
      await expect(media.updateRoom('no such room', { metadata: 'm' })).rejects.toMatchObject(failure);
    });

    test('with more metadata than the server accepts is UPSTREAM_ERROR', async () => {
      await media.createRoom('changed');
      const failure = { code: 'UPSTREAM_ERROR', upstreamStatus: 400, retryable: false };
      await expect(media.updateRoom('changed', { metadata: 'm'.repeat(512 * 1024 + 1) })).rejects.toMatchObject(failure);
    });
  });

  describe('sendData', () => {
    test('to an empty room or an unknown recipient succeeds', async () => {
      await media.createRoom('silent');
      expect(await media.sendData('silent', 'hello')).toBeUndefined();
      expect(await media.sendData('silent', new Uint8Array([0, 255]), { to: ['ann'], topic: 't', reliable: false })).toBeUndefined();
      expect(await media.sendData('silent', '')).toBeUndefined();
    });

    test('to an unknown room is ROOM_NOT_FOUND', async () => {
      const failure = { code: 'ROOM_NOT_FOUND', operation: 'sendData', retryable: false };
      await expect(media.sendData('no such room', 'hello')).rejects.toMatchObject(failure);
    });

    test('of more than 64 KiB is INVALID_ARGUMENT', async () => {
      await media.createRoom('silent');
      await media.sendData('silent', 'x'.repeat(65_000));
      const failure = { code: 'INVALID_ARGUMENT', operation: 'sendData', message: expect.stringMatching(/^data: expected at most 65536 bytes/) };
      for (const data of ['x'.repeat(65_536), 'é'.repeat(32_768), new Uint8Array(65_536)]) {
        await expect(media.sendData('silent', data)).rejects.toMatchObject(failure);
      }
    });
  });

  describe('listParticipants', () => {
    test('returns an empty list for an empty and for an unknown room', async () => {
      await media.createRoom('empty');
      expect(await media.listParticipants('empty')).toEqual([]);
      expect(await media.listParticipants('no such room')).toEqual([]);
    });
  });

  describe('a participant', () => {
    test('that is unknown is PARTICIPANT_NOT_FOUND', async () => {
      await media.createRoom('without ann');
      for (const room of ['without ann', 'no room']) {
        /** @type {Record<string, () => Promise<unknown>>} */
        const calls = {
          updateParticipant: () => media.updateParticipant(room, 'ann', { canPublish: false }),
          muteParticipant: () => media.muteParticipant(room, 'ann'),
          removeParticipant: () => media.removeParticipant(room, 'ann', { revokeTokens: true }),
        };
        for (const [operation, call] of Object.entries(calls)) {
          await expect(call()).rejects.toMatchObject({ code: 'PARTICIPANT_NOT_FOUND', operation, retryable: false });
        }
        expect(await media.getParticipant(room, 'ann')).toBeNull();
      }
    });
  });

  describe('a signal', () => {
    /** @type {[string, ...unknown[]][]} */
    const calls = [
      ['createRoom', 'signalled', {}],
      ['deleteRoom', 'signalled'],
      ['listRooms'],
      ['listParticipants', 'signalled'],
      ['getRoom', 'signalled'],
      ['updateRoom', 'signalled', { metadata: 'm' }],
      ['getParticipant', 'signalled', 'ann'],
      ['updateParticipant', 'signalled', 'ann', { name: 'Ann' }],
      ['muteParticipant', 'signalled', 'ann'],
      ['sendData', 'signalled', 'hello'],
      ['removeParticipant', 'signalled', 'ann'],
      ['generateToken', 'signalled', { identity: 'ann', name: '' }],
      ['mediaUrl'],
    ];

    test.each(calls)('aborted before the call is ABORTED without an effect: %s', async (method, ...args) => {
      const signal = AbortSignal.abort('changed my mind');
      const call = /** @type {any} */ (media)[method](...args, { signal });
      await expect(call).rejects.toMatchObject({ code: 'ABORTED', operation: method, retryable: false, cause: 'changed my mind' });
      expect(await isListed('signalled')).toBe(false);
    });

    test('aborted after the call has no effect', async () => {
      const aborting = new AbortController();
      for (let call = 0; call < 20; call += 1) {
        expect(await media.createRoom('lasting', {}, { signal: aborting.signal, timeoutMs: 60_000 })).toMatchObject({ name: 'lasting' });
      }
      aborting.abort();
      expect(await isListed('lasting')).toBe(true);
    });
  });

  describe('results', () => {
    test('can be serialized by SvelteKit and React Router', async () => {
      const app = await startApp(server.options);
      try {
        for (const [method, ...args] of [
          ['createRoom', 'serialized'],
          ['listRooms'],
          ['generateToken', 'serialized', { identity: 'ann', name: 'Ann', attributes: { a: 'b' } }],
        ]) {
          const { value } = await app.run(method, ...args);
          expect(value).toBeDefined();
          expect(await app.serialize()).toEqual([value, value]);
        }
      } finally {
        await app.stop();
      }
    });
  });

  describe('prefixes', () => {
    test('separate the rooms of two tenants, also if one prefix starts like the other', async () => {
      const [one, ten] = [server.open({ roomPrefix: 't1:' }), server.open({ roomPrefix: 't10:' })];
      expect(await one.createRoom('huddle', { maxParticipants: 1 })).toMatchObject({ name: 'huddle', maxParticipants: 1 });
      expect(await ten.createRoom('huddle', { maxParticipants: 10 })).toMatchObject({ name: 'huddle', maxParticipants: 10 });
      await ten.createRoom('more');
      expect(await one.listRooms()).toMatchObject([{ name: 'huddle', maxParticipants: 1 }]);
      expect(await ten.listRooms()).toMatchObject([{ name: 'huddle', maxParticipants: 10 }, { name: 'more' }]);
      expect(namesOf(await media.listRooms())).toEqual(expect.arrayContaining(['t1:huddle', 't10:huddle', 't10:more']));
      await ten.deleteRoom('huddle');
      expect(await one.listRooms()).toMatchObject([{ name: 'huddle' }]);
      await one.deleteRoom('huddle');
      expect(await ten.listRooms()).toMatchObject([{ name: 'more' }]);
    });
  });
});
