'use strict';

// Webhooks of livekit-server and of the embedded engine: the same events, in the same order, with the same content.

const http = require('node:http');
const { once } = require('node:events');
const { WebhookReceiver } = require('livekit-server-sdk');
const { createPlatform } = require('../../index.js');
const { startServer } = require('../../test-support/livekit-server.js');
const { startClients } = require('./support/processes.js');
const { until } = require('./support/wait.js');

const PAIR = { apiKey: 'APIwebhooks', apiSecret: 'a-secret-that-is-long-enough-for-HS256' };

/** A server that receives webhooks, and responds as `respond` says. */
async function startReceiver(respond = (/** @type {http.ServerResponse} */ response) => void response.end()) {
  /** @type {{ body: string, headers: http.IncomingHttpHeaders }[]} */
  const requests = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      requests.push({ body, headers: request.headers });
      respond(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const stop = async () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${port}/webhook?key=1`, requests, stop };
}

/** @typedef {Awaited<ReturnType<typeof startReceiver>>} Receiver */

const servers = [
  {
    name: 'livekit-server',
    async start(/** @type {string} */ url) {
      const server = await startServer({ keys: { [PAIR.apiKey]: PAIR.apiSecret }, config: { webhook: { api_key: PAIR.apiKey, urls: [url] } } });
      const platform = createPlatform({ url: server.url, ...PAIR });
      return { media: /** @type {import('../../index.js').MediaService} */ (platform.media), stop: server.stop };
    },
  },
  {
    name: 'the embedded engine',
    async start(/** @type {string} */ url) {
      const platform = createPlatform({ provider: 'embedded', webhookUrls: url, ...PAIR });
      return { media: /** @type {import('../../index.js').MediaService} */ (platform.media), stop: platform.close };
    },
  },
];

describe.each(servers)('webhooks of $name', ({ start }) => {
  /** @type {Receiver} */
  let receiver;
  /** @type {Awaited<ReturnType<(typeof servers)[number]['start']>>} */
  let server;
  /** @type {Awaited<ReturnType<typeof startClients>>} */
  let clients;
  /** @type {import('../../index.js').MediaEvent[]} */
  let events;

  /** Events in a room so far, as `type subject`. @param {string} room */
  async function received(room) {
    const all = await Promise.all(receiver.requests.map(({ body, headers }) => server.media.receiveWebhook({ body, authorization: headers.authorization })));
    events = /** @type {any[]} */ (all).filter((event) => event.room.name === room);
    return events.map((event) => [event.type, ...('participant' in event && event.participant ? [event.participant.identity] : [])].join(' '));
  }

  /** Waits for an event, and returns it. @param {string} room @param {string} name @returns {Promise<any>} */
  async function next(room, name) {
    const index = await until(async () => (await received(room)).indexOf(name) + 1, 30_000);
    return events[index - 1];
  }

  beforeAll(async () => {
    receiver = await startReceiver();
    [server, clients] = await Promise.all([start(receiver.url), startClients()]);
  }, 30_000);
  afterAll(async () => {
    await clients?.stop();
    await server?.stop();
    await receiver?.stop();
  });

  /** @param {string} room @param {string} identity */
  const join = async (room, identity) => clients.join(await server.media.generateToken(room, { identity, name: identity.toUpperCase(), metadata: 'm', attributes: { a: 'b' } }));

  test('report a call in order, with every field', async () => {
    await server.media.createRoom('call', { maxParticipants: 5, metadata: 'topic' });
    const ann = await join('call', 'ann');
    await next('call', 'participant_joined ann');
    const sid = await ann.publish('camera');
    await next('call', 'track_published ann');
    await join('call', 'bob');
    await next('call', 'participant_joined bob');
    await ann.leave();
    await next('call', 'participant_left ann');
    await server.media.removeParticipant('call', 'bob');
    await next('call', 'participant_left bob');
    const cas = await join('call', 'cas');
    await next('call', 'participant_joined cas');
    await cas.publish('microphone');
    await next('call', 'track_published cas');
    await server.media.deleteRoom('call');
    await next('call', 'room_finished');
    expect(await received('call')).toEqual([
      'room_started',
      'participant_joined ann',
      'track_published ann',
      'participant_joined bob',
      'track_unpublished ann',
      'participant_left ann',
      'participant_left bob',
      'participant_joined cas',
      'track_published cas',
      'track_unpublished cas',
      'participant_left cas',
      'room_finished',
    ]);
    const of = (/** @type {string} */ type, /** @type {string} */ identity) =>
      /** @type {any} */ (events.find((event) => event.type === type && /** @type {any} */ (event).participant?.identity === identity));
    const [started] = /** @type {any[]} */ (events);
    expect(started).toEqual({
      type: 'room_started',
      id: expect.stringMatching(/^EV_\w+$/),
      createdAt: expect.any(Number),
      room: { sid: expect.stringMatching(/^RM_/), name: 'call', numParticipants: 0, maxParticipants: 5, createdAt: expect.any(Number), active: true },
    });
    expect(of('participant_joined', 'ann')).toMatchObject({
      room: { sid: started.room.sid, name: 'call' },
      participant: { sid: expect.stringMatching(/^PA_/), name: 'ANN', state: 'active', metadata: 'm', attributes: { a: 'b' }, canPublish: true, tracks: [] },
    });
    expect(of('track_published', 'ann')).toMatchObject({
      room: { sid: started.room.sid, name: 'call' },
      participant: { sid: of('participant_joined', 'ann').participant.sid, identity: 'ann' },
      track: { sid, source: 'camera', kind: 'video', muted: false },
    });
    expect(of('participant_left', 'ann')).toMatchObject({ reason: 'client_initiated', participant: { state: 'disconnected', tracks: [] } });
    expect(of('participant_left', 'bob')).toMatchObject({ reason: 'participant_removed' });
    expect(of('participant_left', 'cas')).toMatchObject({ reason: 'room_deleted' });
    expect(events.at(-1)).toMatchObject({ reason: 'api_delete', room: { active: false } });
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
  }, 60_000);

  test('report a second session of an identity, and a room that was empty for too long', async () => {
    await server.media.createRoom('twice', { emptyTimeoutSecs: 1 });
    await join('twice', 'ann');
    await next('twice', 'participant_joined ann');
    await join('twice', 'ann');
    const left = await next('twice', 'participant_left ann');
    expect(left.reason).toBe('duplicate_identity');
    await until(async () => (await received('twice')).filter((name) => name === 'participant_joined ann').length === 2);
    const joined = /** @type {any[]} */ (events).filter(({ type }) => type === 'participant_joined');
    expect(left.participant.sid).toBe(joined[0].participant.sid);
    await clients.leaveAll();
    expect(await next('twice', 'room_finished')).toMatchObject({ reason: 'idle_timeout' });
  }, 60_000);

  test('are signed, and livekit-server-sdk verifies them', async () => {
    await until(() => receiver.requests.length > 0);
    const sdk = new WebhookReceiver(PAIR.apiKey, PAIR.apiSecret);
    for (const { body, headers } of receiver.requests) {
      expect(headers).toMatchObject({ 'content-type': 'application/webhook+json', 'user-agent': 'LiveKit' });
      const event = await sdk.receive(body, headers.authorization);
      expect(event.event).toBe(JSON.parse(body).event);
      expect(event.id).toMatch(/^EV_/);
    }
  });
});

describe('a receiver', () => {
  /** @type {(() => Promise<unknown>)[]} */
  const stops = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  /** @param {...Receiver} receivers */
  function open(...receivers) {
    const platform = createPlatform({ provider: 'embedded', webhookUrls: receivers.map(({ url }) => url), ...PAIR });
    stops.push(platform.close, ...receivers.map(({ stop }) => stop));
    return /** @type {import('../../index.js').MediaService} */ (platform.media);
  }
  const namesOf = (/** @type {Receiver} */ { requests }) => requests.map(({ body }) => `${JSON.parse(body).event} ${JSON.parse(body).room.name}`);

  test('that hangs delays neither the calls nor another receiver', async () => {
    const [hanging, healthy] = [await startReceiver(() => {}), await startReceiver()];
    const media = open(hanging, healthy);
    const names = Array.from({ length: 50 }, (_, i) => `room ${i}`);
    const before = performance.now();
    for (const name of names) await media.createRoom(name);
    expect(performance.now() - before).toBeLessThan(1000);
    await until(() => healthy.requests.length === names.length);
    expect(namesOf(healthy).sort()).toEqual(names.map((name) => `room_started ${name}`).sort());
  });

  test('that fails gets an event again, with the same id, before the next one', async () => {
    let failures = 2;
    const failing = await startReceiver((response) => void response.writeHead(failures-- > 0 ? 500 : 200).end());
    const media = open(failing);
    await media.createRoom('retried');
    await media.deleteRoom('retried');
    await until(() => failing.requests.length === 4);
    expect(namesOf(failing)).toEqual(['room_started retried', 'room_started retried', 'room_started retried', 'room_finished retried']);
    expect(new Set(failing.requests.map(({ body }) => JSON.parse(body).id)).size).toBe(2);
  });

  test('that is not there does not keep an engine from closing', async () => {
    const gone = await startReceiver();
    await gone.stop();
    const media = open({ ...gone, stop: async () => {} });
    await media.createRoom('unheard');
  });
});
