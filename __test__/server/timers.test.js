'use strict';

// Timeouts of rooms. Each case takes seconds, so all run concurrently.

const { startClients } = require('./support/processes.js');
const { providers } = require('./support/providers.js');
const { pause, testTogether, until } = require('./support/wait.js');

/** @typedef {import('../../index.js').MediaParticipantInfo} Participant */

// Servers count in whole seconds, so a room can end up to 1 s early and 2 s late.
const EARLIEST_MS = 1000;
const LATEST_MS = 5000;

/** The room of that name, if it is listed. @param {import('../../index.js').MediaService} media @param {string} name */
const find = async (media, name) => (await media.listRooms()).find((room) => room.name === name);

/** Waits until the room is gone; gives the milliseconds since `since`. @param {import('../../index.js').MediaService} media @param {string} room @param {number} since */
async function lifetimeOf(media, room, since) {
  await until(async () => (await find(media, room)) === undefined);
  return Date.now() - since;
}

describe.each(providers)('a room without clients on $name', ({ start }) => {
  /** @type {import('./support/providers.js').Running} */
  let server;
  /** @type {import('../../index.js').MediaService} */
  let media;

  beforeAll(async () => {
    server = await start();
    media = server.open();
  });
  afterAll(() => server?.stop());

  testTogether({
    'ends after emptyTimeoutSecs, and not before': async () => {
      const since = Date.now();
      await media.createRoom('unused', { emptyTimeoutSecs: 2 });
      const lifetime = await lifetimeOf(media, 'unused', since);
      expect(lifetime).toBeGreaterThan(EARLIEST_MS);
      expect(lifetime).toBeLessThan(LATEST_MS);
    },

    'does not last longer because it is created again': async () => {
      const since = Date.now();
      const create = () => media.createRoom('renewed', { emptyTimeoutSecs: 2 });
      const { createdAt } = await create();
      await until(async () => (await create()).createdAt !== createdAt);
      const lifetime = Date.now() - since;
      expect(lifetime).toBeGreaterThan(EARLIEST_MS);
      expect(lifetime).toBeLessThan(LATEST_MS);
    },

    'has its own timeout after a room of that name was deleted': async () => {
      await media.createRoom('replaced', { emptyTimeoutSecs: 1 });
      await media.deleteRoom('replaced');
      await media.createRoom('replaced', { emptyTimeoutSecs: 600 });
      await pause(LATEST_MS);
      expect(await find(media, 'replaced')).toBeDefined();
    },

    'ignores departureTimeoutSecs before the first join': async () => {
      const since = Date.now();
      await media.createRoom('unjoined', { emptyTimeoutSecs: 2, departureTimeoutSecs: 600 });
      await media.createRoom('lasting', { emptyTimeoutSecs: 600, departureTimeoutSecs: 1 });
      expect(await lifetimeOf(media, 'unjoined', since)).toBeLessThan(LATEST_MS);
      await pause(since + LATEST_MS - Date.now());
      expect(await find(media, 'lasting')).toBeDefined();
    },

    'lasts without settings': async () => {
      await media.createRoom('default');
      await media.createRoom('zero', { emptyTimeoutSecs: 0 });
      await pause(LATEST_MS);
      for (const room of ['default', 'zero']) expect(await find(media, room)).toBeDefined();
    },
  });
});

describe.each(providers)('a room with clients on $name', ({ start }) => {
  /** @type {import('./support/providers.js').Running} */
  let server;
  /** @type {Awaited<ReturnType<typeof startClients>>} */
  let clients;
  /** @type {import('../../index.js').MediaService} */
  let media;

  beforeAll(async () => {
    [server, clients] = await Promise.all([start(), startClients()]);
    media = server.open();
  });
  afterAll(async () => {
    await clients?.stop();
    await server?.stop();
  });

  /**
   * Rooms with short timeouts have their settings in the token too, because a room can end before a slow client joins.
   * @param {string} room @param {string} identity @param {Partial<Participant>} [more]
   */
  async function join(room, identity, more) {
    return clients.join(await media.generateToken(room, { identity, name: '', ...more }));
  }

  testTogether({
    'ends after the last leave, and not before': async () => {
      const settings = { emptyTimeoutSecs: 2 };
      await media.createRoom('left', settings);
      const [ann, bob] = await Promise.all(['ann', 'bob'].map((identity) => join('left', identity, { roomSettings: settings })));
      expect(ann.joined).toMatchObject({ emptyTimeout: 2, departureTimeout: 2 });
      await ann.leave();
      await pause(LATEST_MS);
      expect(await find(media, 'left')).toBeDefined();
      const since = Date.now();
      await bob.leave();
      const lifetime = await lifetimeOf(media, 'left', since);
      expect(lifetime).toBeGreaterThan(EARLIEST_MS);
      expect(lifetime).toBeLessThan(LATEST_MS);
    },

    'can have a departureTimeoutSecs shorter than emptyTimeoutSecs': async () => {
      await media.createRoom('departed', { emptyTimeoutSecs: 600, departureTimeoutSecs: 1 });
      const ann = await join('departed', 'ann');
      expect(ann.joined).toMatchObject({ emptyTimeout: 600, departureTimeout: 1 });
      const since = Date.now();
      await ann.leave();
      expect(await lifetimeOf(media, 'departed', since)).toBeLessThan(LATEST_MS);
    },

    'can have a departureTimeoutSecs longer than emptyTimeoutSecs': async () => {
      const settings = { emptyTimeoutSecs: 1, departureTimeoutSecs: 600 };
      await media.createRoom('kept', settings);
      const ann = await join('kept', 'ann', { roomSettings: settings });
      expect(ann.joined).toMatchObject({ emptyTimeout: 1, departureTimeout: 600 });
      await ann.leave();
      await pause(LATEST_MS);
      expect(await find(media, 'kept')).toBeDefined();
    },

    'has the timeouts of the server by default': async () => {
      await Promise.all([media.createRoom('default'), media.createRoom('zero', { emptyTimeoutSecs: 0, departureTimeoutSecs: 0 })]);
      for (const room of ['default', 'zero']) {
        expect((await join(room, 'ann')).joined).toMatchObject({ emptyTimeout: 300, departureTimeout: 20 });
      }
    },

    'is created again by a join after its end, with the settings of the token': async () => {
      const settings = { maxParticipants: 1, emptyTimeoutSecs: 1, departureTimeoutSecs: 30, metadata: 'kept' };
      await media.createRoom('renewed', settings);
      await lifetimeOf(media, 'renewed', Date.now());
      const ann = await join('renewed', 'ann', { roomSettings: settings });
      expect(ann.joined).toMatchObject({ roomMetadata: 'kept', emptyTimeout: 1, departureTimeout: 30 });
      await expect(join('renewed', 'bob', { roomSettings: settings })).rejects.toThrow();
      expect(await find(media, 'renewed')).toMatchObject({ maxParticipants: 1 });
    },

    'has its participants counted by listRooms': async () => {
      await media.createRoom('counted');
      await Promise.all(['ann', 'bob'].map((identity) => join('counted', identity)));
      await until(async () => (await find(media, 'counted'))?.numParticipants === 2, 15_000);
    },
  });
});
