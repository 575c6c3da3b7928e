'use strict';

// When rooms end by themselves. Each case takes seconds, so all run at once.

const { startClients } = require('./support/processes.js');
const { providers } = require('./support/providers.js');
const { pause, testTogether, until } = require('./support/wait.js');

/** @typedef {import('../../index.js').MediaParticipantInfo} Participant */

// Servers count in whole seconds: a room can go up to one early, and up to two late.
const EARLIEST_MS = 1000;
const LATEST_MS = 5000;

/** The room of that name, if it is listed. @param {import('../../index.js').MediaService} media @param {string} name */
const find = async (media, name) => (await media.listRooms()).find((room) => room.name === name);

/** Milliseconds from `since` until the room is gone. @param {import('../../index.js').MediaService} media @param {string} room @param {number} since */
async function lifeOf(media, room, since) {
  await until(async () => (await find(media, room)) === undefined);
  return Date.now() - since;
}

describe.each(providers)('time without clients on $name', ({ start }) => {
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
    'ends a room that nobody joined, and not before': async () => {
      const since = Date.now();
      await media.createRoom('unused', { emptyTimeoutSecs: 2 });
      const life = await lifeOf(media, 'unused', since);
      expect(life).toBeGreaterThan(EARLIEST_MS);
      expect(life).toBeLessThan(LATEST_MS);
    },

    'goes on for a room that is created again and again': async () => {
      const since = Date.now();
      const create = () => media.createRoom('renewed', { emptyTimeoutSecs: 2 });
      const { createdAt } = await create();
      await until(async () => (await create()).createdAt !== createdAt);
      const life = Date.now() - since;
      expect(life).toBeGreaterThan(EARLIEST_MS);
      expect(life).toBeLessThan(LATEST_MS);
    },

    'is another for the room that comes after a deleted one': async () => {
      await media.createRoom('replaced', { emptyTimeoutSecs: 1 });
      await media.deleteRoom('replaced');
      await media.createRoom('replaced', { emptyTimeoutSecs: 600 });
      await pause(LATEST_MS);
      expect(await find(media, 'replaced')).toBeDefined();
    },

    'before the first join does not hang on the departure timeout': async () => {
      const since = Date.now();
      await media.createRoom('unjoined', { emptyTimeoutSecs: 2, departureTimeoutSecs: 600 });
      await media.createRoom('lasting', { emptyTimeoutSecs: 600, departureTimeoutSecs: 1 });
      expect(await lifeOf(media, 'unjoined', since)).toBeLessThan(LATEST_MS);
      await pause(since + LATEST_MS - Date.now());
      expect(await find(media, 'lasting')).toBeDefined();
    },

    'is long where no setting says it': async () => {
      await media.createRoom('standard');
      await media.createRoom('zero', { emptyTimeoutSecs: 0 });
      await pause(LATEST_MS);
      for (const room of ['standard', 'zero']) expect(await find(media, room)).toBeDefined();
    },
  });
});

describe.each(providers)('time for clients on $name', ({ start }) => {
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
   * Where a room has little time, its settings go into the token too: a slow machine must not find another room.
   * @param {string} room @param {string} identity @param {Partial<Participant>} [more]
   */
  async function join(room, identity, more) {
    return clients.join(await media.generateToken(room, { identity, name: '', ...more }));
  }

  testTogether({
    'ends a room that all have left, and not before': async () => {
      const settings = { emptyTimeoutSecs: 2 };
      await media.createRoom('left', settings);
      const [ann, bob] = await Promise.all(['ann', 'bob'].map((identity) => join('left', identity, { roomSettings: settings })));
      expect(ann.joined).toMatchObject({ emptyTimeout: 2, departureTimeout: 2 });
      await ann.leave();
      await pause(LATEST_MS);
      expect(await find(media, 'left')).toBeDefined();
      const since = Date.now();
      await bob.leave();
      const life = await lifeOf(media, 'left', since);
      expect(life).toBeGreaterThan(EARLIEST_MS);
      expect(life).toBeLessThan(LATEST_MS);
    },

    'after the last leave can be shorter than before the first join': async () => {
      await media.createRoom('departed', { emptyTimeoutSecs: 600, departureTimeoutSecs: 1 });
      const ann = await join('departed', 'ann');
      expect(ann.joined).toMatchObject({ emptyTimeout: 600, departureTimeout: 1 });
      const since = Date.now();
      await ann.leave();
      expect(await lifeOf(media, 'departed', since)).toBeLessThan(LATEST_MS);
    },

    'after the last leave can be longer than before the first join': async () => {
      const settings = { emptyTimeoutSecs: 1, departureTimeoutSecs: 600 };
      await media.createRoom('kept', settings);
      const ann = await join('kept', 'ann', { roomSettings: settings });
      expect(ann.joined).toMatchObject({ emptyTimeout: 1, departureTimeout: 600 });
      await ann.leave();
      await pause(LATEST_MS);
      expect(await find(media, 'kept')).toBeDefined();
    },

    'is the server’s own where no setting says it': async () => {
      await Promise.all([media.createRoom('standard'), media.createRoom('zero', { emptyTimeoutSecs: 0, departureTimeoutSecs: 0 })]);
      for (const room of ['standard', 'zero']) {
        expect((await join(room, 'ann')).joined).toMatchObject({ emptyTimeout: 300, departureTimeout: 20 });
      }
    },

    'over, a join makes the room anew with the settings of its token': async () => {
      const settings = { maxParticipants: 1, emptyTimeoutSecs: 1, departureTimeoutSecs: 30, metadata: 'kept' };
      await media.createRoom('renewed', settings);
      await lifeOf(media, 'renewed', Date.now());
      const ann = await join('renewed', 'ann', { roomSettings: settings });
      expect(ann.joined).toMatchObject({ roomMetadata: 'kept', emptyTimeout: 1, departureTimeout: 30 });
      await expect(join('renewed', 'bob', { roomSettings: settings })).rejects.toThrow();
      expect(await find(media, 'renewed')).toMatchObject({ maxParticipants: 1 });
    },

    'passes until listRooms counts who is in a room': async () => {
      await media.createRoom('counted');
      await Promise.all(['ann', 'bob'].map((identity) => join('counted', identity)));
      await until(async () => (await find(media, 'counted'))?.numParticipants === 2, 15_000);
    },
  });
});
