'use strict';

// What takes more than one request: rooms over time.

const { call, cleanUp, newRun, roomOf, serverFromEnvironment } = require('./support/server.js');

/** @typedef {Record<string, any>} Room */

// Servers count in whole seconds: a room can go up to one early, and up to two late; the rest is for a busy machine.
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
 * Milliseconds from `since` until the room is gone.
 * @param {string} name
 * @param {number} since
 * @param {() => Promise<unknown>} [meanwhile] Done to it again and again; fails once it is gone.
 */
async function lifeOf(name, since, meanwhile = async () => {}) {
  while ((await list(name)).length > 0) {
    await meanwhile().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return Date.now() - since;
}

/** @param {number} life @param {number} seconds */
function expectLife(life, seconds) {
  expect(life).toBeGreaterThan(seconds * 1000 - EARLY_MS);
  expect(life).toBeLessThan(seconds * 1000 + LATE_MS);
}

describe('a room', () => {
  test('is the same however it is asked for', async () => {
    const name = newName();
    const made = await create({ name, max_participants: 3, metadata: 'm' });
    expect(await list(name)).toEqual([made]);
    expect((await call(server, 'ListRooms', { names: [name] }, 'protobuf')).rooms).toEqual([made]);
    expect(await call(server, 'CreateRoom', { name }, 'protobuf')).toEqual(made);
    expect((await list()).find((room) => room.name === name)).toEqual(made);
  });

  test('knows when it was made', async () => {
    const { creation_time: seconds, creation_time_ms: milliseconds } = await create({ name: newName() });
    expect(Math.abs(Number(milliseconds) - Date.now())).toBeLessThan(5000);
    expect(Math.floor(Number(milliseconds) / 1000)).toBe(Number(seconds));
  });

  test('is made once by all who make it at once', async () => {
    const name = newName();
    const made = await Promise.all(Array.from({ length: 20 }, (_, index) => create({ name, max_participants: index + 1 })));
    expect(new Set(made.map(({ sid }) => sid)).size).toBe(1);
    expect(new Set(made.map(({ max_participants: most }) => most)).size).toBe(1);
  });

  test('keeps all else when its metadata changes', async () => {
    const name = newName();
    const made = await create({ name, max_participants: 3, metadata: 'first', empty_timeout: 60 });
    const updated = await call(server, 'UpdateRoomMetadata', { room: name, metadata: 'second' });
    expect(updated).toEqual({ ...made, metadata: 'second' });
    expect(await list(name)).toEqual([updated]);
    expect(await create({ name, metadata: 'third' })).toEqual(updated);
  });

  test('is another one when it is made again after it was deleted', async () => {
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

  test('is listed with the others that are asked for, and only those', async () => {
    const names = [newName(), newName(), newName()];
    for (const name of names) await create({ name });
    expect(namesOf(await list(names[2], 'none', names[0], names[2]))).toEqual([names[0], names[2]]);
    expect(namesOf(await list())).toEqual(expect.arrayContaining(names));
  });

  test('may have any name that is not too long', async () => {
    const names = ['a/b/../c', '%2F?x=1&y="<\\', ' at the edges ', '\u0000\u007f\u202e', '😀 👩‍👩‍👧', '-'].map((name) => newName() + name);
    for (const name of names) expect(await create({ name })).toMatchObject({ name });
    expect(namesOf(await list(...names))).toEqual(names.sort());
    for (const name of names) await remove(name);
    expect(await list(...names)).toEqual([]);
  });
});

describe('a room that nobody joins', () => {
  // They take seconds, so all run at once.
  test.concurrent.each([
    { title: 'ends in its time', settings: { empty_timeout: 1 } },
    { title: 'ends later with more time', settings: { empty_timeout: 4 } },
    { title: 'has no less time for the time after the last leave', settings: { empty_timeout: 3, departure_timeout: 1 } },
    { title: 'has no more time for the time after the last leave', settings: { empty_timeout: 1, departure_timeout: 60 } },
  ])('$title', async ({ settings }) => {
    const name = newName();
    const since = Date.now();
    await create({ name, ...settings });
    expectLife(await lifeOf(name, since), settings.empty_timeout);
  });

  test.concurrent('has no more time for being made again and changed', async () => {
    const name = newName();
    const since = Date.now();
    await create({ name, empty_timeout: 3 });
    await create({ name, empty_timeout: 600 });
    const update = () => call(server, 'UpdateRoomMetadata', { room: name, metadata: 'm' });
    expectLife(await lifeOf(name, since, update), 3);
  });

  test.concurrent('gives its name free', async () => {
    const name = newName();
    const first = await create({ name, empty_timeout: 1 });
    await lifeOf(name, Date.now());
    const second = await create({ name, empty_timeout: 60 });
    expect(second.empty_timeout).toBe(60);
    expect(second.sid).not.toBe(first.sid);
  });
});
