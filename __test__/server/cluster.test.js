'use strict';

// Two livekit-server processes with one Redis.

const { once } = require('node:events');
const { startRedis, startServer } = require('../../test-support/livekit-server.js');
const { startClients } = require('./support/processes.js');
const { openMedia } = require('./support/providers.js');
const { until } = require('./support/wait.js');

const KEYS = { cluster: 'c'.repeat(32) };
const names = (/** @type {string} */ stem, count = 4) => Array.from({ length: count }, (_, index) => `${stem} ${index}`);

describe('a cluster', () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startServer>>[]} */
  const nodes = [];
  /** @type {Awaited<ReturnType<typeof startClients>>} */
  let clients;

  const startNode = async () => {
    const node = await startServer({ redis: redis.address, keys: KEYS });
    nodes.push(node);
    return node;
  };
  const open = (/** @type {{ url: string }} */ { url }) => openMedia({ url, apiKey: 'cluster', apiSecret: KEYS.cluster });
  const namesOf = async (/** @type {import('../../index.js').MediaService} */ media) => (await media.listRooms()).map(({ name }) => name);

  beforeEach(async () => {
    [redis, clients] = await Promise.all([startRedis(), startClients()]);
  });
  afterEach(async () => {
    await clients?.stop();
    await Promise.all(nodes.splice(0).map((node) => node.stop()));
    await redis?.stop();
  });

  test('serves rooms of one node through the other', async () => {
    const [one, two] = (await Promise.all([startNode(), startNode()])).map(open);
    const rooms = names('shared');
    await Promise.all(rooms.map((name, index) => one.createRoom(name, { maxParticipants: index + 1 })));
    const listed = await two.listRooms();
    expect(listed).toMatchObject(rooms.map((name, index) => ({ name, maxParticipants: index + 1 })));
    expect(await one.listRooms()).toEqual(listed);
    expect(await two.createRoom(rooms[0], { maxParticipants: 9 })).toEqual(listed[0]);

    const ann = await clients.join(await one.generateToken(rooms[0], { identity: 'ann', name: 'Ann' }));
    expect(await two.listParticipants(rooms[0])).toMatchObject([{ identity: 'ann' }]);
    await two.removeParticipant(rooms[0], 'ann');
    expect(await ann.next('disconnected')).toBe('PARTICIPANT_REMOVED');

    await Promise.all(rooms.map((name) => two.deleteRoom(name)));
    expect(await namesOf(one)).toEqual([]);
    expect(await namesOf(two)).toEqual([]);
  });

  describe('after a node was killed', () => {
    const rooms = names('orphan');
    /** @type {import('../../index.js').MediaService} */
    let media;
    /** @type {number} */
    let killedAt;

    beforeEach(async () => {
      // As the only node it has all rooms.
      const lost = await startNode();
      const before = open(lost);
      await Promise.all(rooms.map((name) => before.createRoom(name, { maxParticipants: 2, metadata: 'before' })));
      await clients.join(await before.generateToken(rooms[0], { identity: 'ann', name: 'Ann' }));
      media = open(await startNode());
      expect(await namesOf(media)).toEqual(rooms);
      const ended = once(lost.child, 'exit');
      lost.child.kill('SIGKILL');
      await ended;
      killedAt = Date.now();
    });

    test('deletes the rooms of that node with all their state', async () => {
      await Promise.all(rooms.map((name) => media.deleteRoom(name)));
      expect(await media.listRooms()).toEqual([]);
      for (const name of rooms) {
        const room = await media.createRoom(name, { maxParticipants: 5 });
        expect(room).toMatchObject({ name, maxParticipants: 5, numParticipants: 0 });
        expect(room.createdAt).toBeGreaterThan(killedAt);
      }
      expect(await media.listParticipants(rooms[0])).toEqual([]);
      expect((await clients.join(await media.generateToken(rooms[0], { identity: 'bob', name: '' }))).joined.others).toEqual([]);
      await Promise.all(rooms.map((name) => media.deleteRoom(name)));
      expect(await media.listRooms()).toEqual([]);
    });

    test('creates the rooms of that node again', async () => {
      const create = (/** @type {string} */ name) => media.createRoom(name, { maxParticipants: 5 });
      // LiveKit detects the loss of a node only after some seconds.
      const retryable = (/** @type {any} */ error) => (error.code === 'UNAVAILABLE' ? undefined : Promise.reject(error));
      for (const name of rooms) expect(await until(() => create(name).catch(retryable))).toMatchObject({ name, maxParticipants: 5 });
      const bob = await clients.join(await media.generateToken(rooms[1], { identity: 'bob', name: '' }));
      await Promise.all(rooms.map((name) => media.deleteRoom(name)));
      expect(await bob.next('disconnected')).toBe('ROOM_DELETED');
      expect(await media.listRooms()).toEqual([]);
    });
  });
});
