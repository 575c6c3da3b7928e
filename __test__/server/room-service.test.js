'use strict';

// The embedded engine beside livekit-server: each is asked the same, and both must answer the same, but for the deviations.

const { RoomServiceClient } = require('livekit-server-sdk');
const { createPlatform } = require('../../index.js');
const { expectedOf } = require('../../conformance/deviations.js');
const { requests } = require('../../conformance/requests/index.js');
const { expectAnswer } = require('../../conformance/support/compare.js');
const { answerTo, call, newRun, read, roomOf, sendAll } = require('../../conformance/support/server.js');
const { startServer } = require('../../test-support/livekit-server.js');
const { until } = require('./support/wait.js');

/** @typedef {import('../../conformance/support/server.js').Server} Server */

const PAIR = { apiKey: 'APItest', apiSecret: 'what-both-servers-know-long-enough-for-HS256' };
/** livekit-server lets callers wait three seconds for a participant who is not there; there are some. */
const ALL_MS = 120_000;

/** @type {Server & { stop(): Promise<void> }} */
let livekit;
/** @type {Server & { stop(): Promise<void> }} */
let engine;

beforeAll(async () => {
  livekit = await startServer({ keys: { [PAIR.apiKey]: PAIR.apiSecret } });
  const platform = createPlatform({ provider: 'embedded', ...PAIR });
  engine = { url: String(await platform.media?.mediaUrl()), ...PAIR, stop: () => platform.close() };
});
afterAll(async () => {
  await engine?.stop();
  await livekit?.stop();
});

/** What each server makes up for itself. @param {any} value @returns {any} */
function withoutOwn(value) {
  if (Array.isArray(value)) return value.map(withoutOwn);
  if (value === null || typeof value !== 'object') return value;
  const OWN = ['sid', 'creation_time', 'creation_time_ms', 'creationTime', 'creationTimeMs', 'turn_password', 'turnPassword'];
  const shown = Object.entries(value).filter(([name]) => !OWN.includes(name));
  return Object.fromEntries(shown.map(([name, each]) => [name, withoutOwn(each)]));
}

describe('the engine and livekit-server answer alike:', () => {
  /** Of one connection, or of how a body is written. */
  const UNSEEN = ['connection', 'content-length', 'date', 'keep-alive', 'server', 'transfer-encoding'];
  const run = newRun();
  /** @type {{ livekit: Awaited<ReturnType<typeof sendAll>>, engine: Awaited<ReturnType<typeof sendAll>> }} */
  let received;

  beforeAll(async () => {
    // One after the other: how soon the engine answers is looked at, too.
    received = { engine: await sendAll(engine, requests, run), livekit: await sendAll(livekit, requests, run) };
  }, ALL_MS);

  /** @param {'livekit' | 'engine'} kind @param {import('../../conformance/support/server.js').Request} request */
  function seen(kind, request) {
    const answer = answerTo(received[kind], request);
    const headers = Object.entries(answer.headers).filter(([name]) => !UNSEEN.includes(name));
    return { headers: Object.fromEntries(headers), ...withoutOwn(read(answer, request)) };
  }

  test.each(requests.map((request, index) => ({ title: request.title, request, index })))('$title', ({ request, index }) => {
    const { expected } = request;
    if ('deviation' in expected) {
      for (const kind of /** @type {const} */ (['livekit', 'engine'])) {
        expectAnswer(answerTo(received[kind], request), request, expectedOf(expected, kind), roomOf(run, index));
      }
    } else {
      expect(seen('engine', request)).toEqual(seen('livekit', request));
    }
  });
});

describe('livekit-server-sdk sees no difference:', () => {
  /** Every method, with good arguments. @type {Record<string, (client: RoomServiceClient, room: string) => Promise<any>>} */
  const METHODS = {
    createRoom: (client, name) => client.createRoom({ name, emptyTimeout: 60, departureTimeout: 5, maxParticipants: 3, metadata: 'über' }),
    listRooms: (client, room) => client.listRooms([room]),
    deleteRoom: (client, room) => client.deleteRoom(room),
    updateRoomMetadata: (client, room) => client.updateRoomMetadata(room, 'second'),
    listParticipants: (client, room) => client.listParticipants(room),
    getParticipant: (client, room) => client.getParticipant(room, 'nobody'),
    removeParticipant: (client, room) => client.removeParticipant(room, 'nobody'),
    updateParticipant: (client, room) => client.updateParticipant(room, 'nobody', { name: 'n', metadata: 'm', attributes: { a: 'b' } }),
    sendData: (client, room) => client.sendData(room, new TextEncoder().encode('hello'), 0, { topic: 't' }),
    mutePublishedTrack: (client, room) => client.mutePublishedTrack(room, 'nobody', 'TR_none', true),
    updateSubscriptions: (client, room) => client.updateSubscriptions(room, 'nobody', ['TR_none'], true),
    forwardParticipant: (client, room) => client.forwardParticipant(room, 'nobody', `${room}-b`),
    moveParticipant: (client, room) => client.moveParticipant(room, 'nobody', `${room}-b`),
  };
  /** Those for which livekit-server hears nothing of a participant. */
  const SILENT = new Set(['mutePublishedTrack', 'updateSubscriptions', 'forwardParticipant', 'moveParticipant']);

  /** @type {Record<string, (server: Server) => RoomServiceClient>} */
  const CLIENTS = {
    'in a room': ({ url, apiKey, apiSecret }) => new RoomServiceClient(url, apiKey, apiSecret),
    'in no room': ({ url, apiKey, apiSecret }) => new RoomServiceClient(url, apiKey, apiSecret),
    'with another secret': ({ url, apiKey }) => new RoomServiceClient(url, apiKey, 'another secret'),
    'with an unknown key': ({ url, apiSecret }) => new RoomServiceClient(url, 'APInone', apiSecret),
    'with no token': ({ url }) => new RoomServiceClient(url, undefined, undefined, { token: 'none' }),
  };
  const cases = Object.keys(METHODS).flatMap((method) => Object.keys(CLIENTS).map((how) => ({ method, how, room: `${method} ${how}` })));

  /** @type {Record<string, { livekit: any, engine: any }>} */
  let outcomes;

  beforeAll(async () => {
    const all = cases.map(async (each) => [each.room, { livekit: await outcome(livekit, each), engine: await outcome(engine, each) }]);
    outcomes = Object.fromEntries(await Promise.all(all));
  }, ALL_MS);

  /** @param {Server} server @param {{ method: string, how: string, room: string }} each */
  async function outcome(server, { method, how, room }) {
    if (how === 'in a room') await call(server, 'CreateRoom', { name: room, metadata: 'first' });
    try {
      return { value: plain(await METHODS[method](CLIENTS[how](server), room)) };
    } catch (/** @type {any} */ error) {
      const { name, status, code, message, metadata } = error;
      return { error: { name, status, code, message, metadata } };
    }
  }

  /** @param {any} value */
  const plain = (value) => (Array.isArray(value) ? value.map(plain) : withoutOwn(value?.toJson?.() ?? value));

  test.each(cases)('$method $how', ({ method, how, room }) => {
    const { livekit, engine } = outcomes[room];
    if (how.startsWith('in') && (SILENT.has(method) || (method === 'sendData' && how === 'in no room'))) {
      expect(livekit.error).toMatchObject({ status: 503, code: 'unavailable' });
      expect(engine.error).toMatchObject({ status: 404, code: 'not_found' });
    } else {
      expect(engine).toEqual(livekit);
    }
  });

  test('in all its methods', () => {
    const methods = Object.getOwnPropertyNames(RoomServiceClient.prototype).filter((name) => name !== 'constructor');
    expect(Object.keys(METHODS).sort()).toEqual(methods.sort());
  });
});

describe('rooms that nobody joins', () => {
  test('end at about the same time', async () => {
    const servers = [livekit, engine];
    const made = servers.map((server) => call(server, 'CreateRoom', { name: 'brief', empty_timeout: 2 }));
    await Promise.all(made);
    const ends = servers.map(async (server) => {
      await until(async () => (await call(server, 'ListRooms', { names: ['brief'] })).rooms.length === 0);
      return Date.now();
    });
    const [first, second] = await Promise.all(ends);
    // Each counts in seconds of its own.
    expect(Math.abs(first - second)).toBeLessThan(2500);
  });
});
