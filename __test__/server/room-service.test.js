'use strict';

// The embedded engine compared with livekit-server, through HTTP and livekit-server-sdk.

const { RoomServiceClient } = require('livekit-server-sdk');
const { createPlatform } = require('../../index.js');
const { requests } = require('../../conformance/requests/index.js');
const { call, newRun, responseTo, sendAll } = require('../../conformance/support/server.js');
const { startServer } = require('../../test-support/livekit-server.js');
const { until } = require('./support/wait.js');

/** @typedef {import('../../conformance/support/server.js').Server} Server */

const PAIR = { apiKey: 'APItest', apiSecret: 'a-secret-that-is-long-enough-for-HS256' };
/** livekit-server waits 3 s for each participant that is not there. */
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

/** Removes fields that differ between any two servers. @param {any} value @returns {any} */
function withoutGenerated(value) {
  if (Array.isArray(value)) return value.map(withoutGenerated);
  if (value === null || typeof value !== 'object') return value;
  const GENERATED = ['sid', 'creation_time', 'creation_time_ms', 'creationTime', 'creationTimeMs', 'turn_password', 'turnPassword'];
  const shown = Object.entries(value).filter(([name]) => !GENERATED.includes(name));
  return Object.fromEntries(shown.map(([name, each]) => [name, withoutGenerated(each)]));
}

describe('the engine and livekit-server send the same headers:', () => {
  /** Headers of a connection, and those that depend on the HTTP server. */
  const IGNORED = ['connection', 'content-length', 'date', 'keep-alive', 'server', 'transfer-encoding'];
  /** One request for each kind of response. The conformance suite compares the bodies of all requests on each server. */
  const TITLES = [
    'GET / responds OK',
    'GET /none is not found',
    'GET of the method ListRooms is a bad route',
    'CreateRoom responds with the room',
    'CreateRoom responds with the room, in protobuf',
    'CreateRoom is denied without a token',
    'DeleteRoom does not find an unknown room',
    'JSON: a truncated object',
    'JSON: a byte more than 10 MiB, with Content-Length',
    'a token that is not a JWT',
    'CORS: a response',
    'CORS: a Twirp error',
    'CORS: preflight of a request with headers',
    'CORS: preflight of a verb that is not allowed',
    '/rtc/validate accepts a token for an existing room',
    '/rtc/v1/validate requires a token before a join request',
  ];
  const compared = TITLES.map((title) => requests.find((request) => request.title === title));
  const run = newRun();
  /** @type {{ livekit: Awaited<ReturnType<typeof sendAll>>, engine: Awaited<ReturnType<typeof sendAll>> }} */
  let received;

  beforeAll(async () => {
    received = { engine: await sendAll(engine, compared, run), livekit: await sendAll(livekit, compared, run) };
  }, ALL_MS);

  /** @param {'livekit' | 'engine'} kind @param {import('../../conformance/support/server.js').Request} request */
  function headersOf(kind, request) {
    const { status, headers } = responseTo(received[kind], request);
    return { status, ...Object.fromEntries(Object.entries(headers).filter(([name]) => !IGNORED.includes(name))) };
  }

  test.each(compared.map((request, index) => ({ title: TITLES[index], request })))('$title', ({ request }) => {
    expect(headersOf('engine', request)).toEqual(headersOf('livekit', request));
  });
});

describe('livekit-server-sdk gets the same outcome:', () => {
  /** Every method, with valid arguments. @type {Record<string, (client: RoomServiceClient, room: string) => Promise<any>>} */
  const METHODS = {
    createRoom: (client, name) => client.createRoom({ name, emptyTimeout: 60, departureTimeout: 5, maxParticipants: 3, metadata: 'über' }),
    listRooms: (client, room) => client.listRooms([room]),
    deleteRoom: (client, room) => client.deleteRoom(room),
    updateRoomMetadata: (client, room) => client.updateRoomMetadata(room, 'second'),
    listParticipants: (client, room) => client.listParticipants(room),
    getParticipant: (client, room) => client.getParticipant(room, 'unknown'),
    removeParticipant: (client, room) => client.removeParticipant(room, 'unknown'),
    updateParticipant: (client, room) => client.updateParticipant(room, 'unknown', { name: 'n', metadata: 'm', attributes: { a: 'b' } }),
    sendData: (client, room) => client.sendData(room, new TextEncoder().encode('hello'), 0, { topic: 't' }),
    mutePublishedTrack: (client, room) => client.mutePublishedTrack(room, 'unknown', 'TR_none', true),
    updateSubscriptions: (client, room) => client.updateSubscriptions(room, 'unknown', ['TR_none'], true),
    forwardParticipant: (client, room) => client.forwardParticipant(room, 'unknown', `${room}-b`),
    moveParticipant: (client, room) => client.moveParticipant(room, 'unknown', `${room}-b`),
  };
  /** Methods for which livekit-server waits for a response of the participant's node. */
  const FORWARDED = new Set(['mutePublishedTrack', 'updateSubscriptions', 'forwardParticipant', 'moveParticipant']);

  /** @type {Record<string, (server: Server) => RoomServiceClient>} */
  const CLIENTS = {
    'in a room': ({ url, apiKey, apiSecret }) => new RoomServiceClient(url, apiKey, apiSecret),
    'in an unknown room': ({ url, apiKey, apiSecret }) => new RoomServiceClient(url, apiKey, apiSecret),
    'with another secret': ({ url, apiKey }) => new RoomServiceClient(url, apiKey, 'another secret'),
    'with an unknown key': ({ url, apiSecret }) => new RoomServiceClient(url, 'APInone', apiSecret),
    'with an invalid token': ({ url }) => new RoomServiceClient(url, undefined, undefined, { token: 'none' }),
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
  const plain = (value) => (Array.isArray(value) ? value.map(plain) : withoutGenerated(value?.toJson?.() ?? value));

  test.each(cases)('$method $how', ({ method, how, room }) => {
    const { livekit, engine } = outcomes[room];
    if (how.startsWith('in') && (FORWARDED.has(method) || (method === 'sendData' && how === 'in an unknown room'))) {
      expect(livekit.error).toMatchObject({ status: 503, code: 'unavailable' });
      expect(engine.error).toMatchObject({ status: 404, code: 'not_found' });
    } else {
      expect(engine).toEqual(livekit);
    }
  });

  test('in all methods', () => {
    const methods = Object.getOwnPropertyNames(RoomServiceClient.prototype).filter((name) => name !== 'constructor');
    expect(Object.keys(METHODS).sort()).toEqual(methods.sort());
  });
});

describe('rooms without participants', () => {
  test('end at about the same time', async () => {
    const servers = [livekit, engine];
    const created = servers.map((server) => call(server, 'CreateRoom', { name: 'brief', empty_timeout: 2 }));
    await Promise.all(created);
    const ends = servers.map(async (server) => {
      await until(async () => (await call(server, 'ListRooms', { names: ['brief'] })).rooms.length === 0);
      return Date.now();
    });
    const [first, second] = await Promise.all(ends);
    // Each server checks its rooms once a second.
    expect(Math.abs(first - second)).toBeLessThan(2500);
  });
});
