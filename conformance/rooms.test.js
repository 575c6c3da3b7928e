'use strict';

// The life cycle of rooms. Each test sends several requests.

const { call, cleanUp, newRun, roomOf, serverFromEnvironment } = require('./support/server.js');

/** @typedef {Record<string, any>} Room */

// Servers count in whole seconds: a room can end up to 1 s early and 2 s late. The third second is for a busy machine.
const EARLY_MS = 1000;
const LATE_MS = 3000;
const POLL_MS = 100;

const server = serverFromEnvironment();
const run = newRun();
let rooms = 0;
const newName = () => roomOf(run, (rooms += 1));

afterAll(() => cleanUp(server, run));

/** @param {Room} request @returns {Promise<Room>} */
const create = (request) => call(server, 'CreateRoom', request);
/** @param {string} room */
const remove = (room) => call(server, 'DeleteRoom', { room });
/** @param {string[]} names @returns {Promise<Room[]>} */
const list = async (...names) => (await call(server, 'ListRooms', { names })).rooms;
/** @param {Room[]} rooms */
const namesOf = (rooms) => rooms.map(({ name }) => name).sort();

/**
 * Polls until the room is gone.
 * @param {string} name
 * @param {number} since
 * @param {() => Promise<unknown>} [meanwhile] Called between the polls; its errors are ignored, because the room may be gone.
 * @returns {Promise<number>} Milliseconds since `since`.
 */
async function lifetimeOf(name, since, meanwhile = async () => {}) {
  while ((await list(name)).length > 0) {
    await meanwhile().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return Date.now() - since;
}

/** @param {number} lifetime @param {number} seconds */
function expectLifetime(lifetime, seconds) {
  expect(lifetime).toBeGreaterThan(seconds * 1000 - EARLY_MS);
  expect(lifetime).toBeLessThan(seconds * 1000 + LATE_MS);
}

describe('a room', () => {
  test('is equal in all responses and encodings', async () => {
    const name = newName();
    const created = await create({ name, max_participants: 3, metadata: 'm' });
    expect(await list(name)).toEqual([created]);
    expect((await call(server, 'ListRooms', { names: [name] }, 'protobuf')).rooms).toEqual([created]);
    expect(await call(server, 'CreateRoom', { name }, 'protobuf')).toEqual(created);
    expect((await list()).find((room) => room.name === name)).toEqual(created);
  });

  test('has its creation time in seconds and milliseconds', async () => {
    const { creation_time: seconds, creation_time_ms: milliseconds } = await create({ name: newName() });
    expect(Math.abs(Number(milliseconds) - Date.now())).toBeLessThan(5000);
    expect(Math.floor(Number(milliseconds) / 1000)).toBe(Number(seconds));
  });

  test('is created once by 20 concurrent requests', async () => {
    const name = newName();
    const created = await Promise.all(Array.from({ length: 20 }, (_, index) => create({ name, max_participants: index + 1 })));
    expect(new Set(created.map(({ sid }) => sid)).size).toBe(1);
    expect(new Set(created.map((room) => room.max_participants)).size).toBe(1);
  });

  test('keeps its settings when its metadata changes', async () => {
    const name = newName();
    const created = await create({ name, max_participants: 3, metadata: 'first', empty_timeout: 60 });
    const updated = await call(server, 'UpdateRoomMetadata', { room: name, metadata: 'second' });
    expect(updated).toEqual({ ...created, metadata: 'second' });
    expect(await list(name)).toEqual([updated]);
    expect(await create({ name, metadata: 'third' })).toEqual(updated);
  });

  test('has another sid and default settings when it is created again after a deletion', async () => {
    const name = newName();
    const first = await create({ name, metadata: 'first', max_participants: 3 });
    await remove(name);
    expect(await list(name)).toEqual([]);
    const second = await create({ name });
    expect(second).toMatchObject({ name, metadata: '', max_participants: 0 });
    expect(second.sid).not.toBe(first.sid);
  });

  test('is not found by its sid', async () => {
    const { sid, name } = await create({ name: newName() });
    expect(await list(sid)).toEqual([]);
    await expect(remove(sid)).rejects.toThrow('404');
    expect(namesOf(await list(name))).toEqual([name]);
  });

  test('is listed if its name is requested', async () => {
    const names = [newName(), newName(), newName()];
    for (const name of names) await create({ name });
    expect(namesOf(await list(names[2], 'none', names[0], names[2]))).toEqual([names[0], names[2]]);
    expect(namesOf(await list())).toEqual(expect.arrayContaining(names));
  });

  test('accepts any name that is not too long', async () => {
    const names = ['a/b/../c', '%2F?x=1&y="<\\', ' at the edges ', '\u0000\u007f\u202e', '😀 👩‍👩‍👧', '-'].map((name) => newName() + name);
    for (const name of names) expect(await create({ name })).toMatchObject({ name });
    expect(namesOf(await list(...names))).toEqual(names.sort());
    for (const name of names) await remove(name);
    expect(await list(...names)).toEqual([]);
  });
});

describe('a room without participants', () => {
  // They take seconds, so all run concurrently.
  test.concurrent.each([
    { title: 'ends after its empty_timeout of 1 s', settings: { empty_timeout: 1 } },
    { title: 'ends after its empty_timeout of 4 s', settings: { empty_timeout: 4 } },
    { title: 'does not end after a shorter departure_timeout', settings: { empty_timeout: 3, departure_timeout: 1 } },
    { title: 'does not last for a longer departure_timeout', settings: { empty_timeout: 1, departure_timeout: 60 } },
  ])('$title', async ({ settings }) => {
    const name = newName();
    const since = Date.now();
    await create({ name, ...settings });
    expectLifetime(await lifetimeOf(name, since), settings.empty_timeout);
  });

  test.concurrent('does not last longer because of CreateRoom and UpdateRoomMetadata', async () => {
    const name = newName();
    const since = Date.now();
    await create({ name, empty_timeout: 3 });
    await create({ name, empty_timeout: 600 });
    const update = () => call(server, 'UpdateRoomMetadata', { room: name, metadata: 'm' });
    expectLifetime(await lifetimeOf(name, since, update), 3);
  });

  test.concurrent('can be created with other settings after it has ended', async () => {
    const name = newName();
    const first = await create({ name, empty_timeout: 1 });
    await lifetimeOf(name, Date.now());
    const second = await create({ name, empty_timeout: 60 });
    expect(second.empty_timeout).toBe(60);
    expect(second.sid).not.toBe(first.sid);
  });
});
