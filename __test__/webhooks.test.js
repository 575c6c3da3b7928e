'use strict';

// receiveWebhook and signWebhook. server/webhooks.test.js has the tests with the servers that send webhooks.

require('./support/environment.js');
const { createHash, createHmac } = require('node:crypto');
const http = require('node:http');
const { once } = require('node:events');
const { WebhookReceiver } = require('livekit-server-sdk');
const { failureOf } = require('./support/failure.js');
const { apiKey, apiSecret, mediaAt, openEmbedded } = require('./support/media.js');
const { cleanUp } = require('./support/serve.js');

/** @typedef {import('../index.js').MediaEvent} MediaEvent */

const media = mediaAt(undefined);
const prefixed = mediaAt(undefined, { roomPrefix: 'app:' });

const room = { sid: 'RM_1', name: 'huddle', numParticipants: 1, maxParticipants: 5, createdAt: 1_700_000_000_123, active: true };
const participant = {
  sid: 'PA_1',
  identity: 'ann',
  name: 'Ann 😀',
  state: /** @type {const} */ ('active'),
  joinedAt: 1_700_000_000_456,
  metadata: '{"seat":7}',
  attributes: { hand: 'up' },
  canPublish: true,
  canSubscribe: false,
  canPublishData: true,
  tracks: [],
};
const track = { sid: 'TR_1', source: /** @type {const} */ ('camera'), kind: /** @type {const} */ ('video'), muted: false };
const ids = { id: 'EV_1', createdAt: 1_700_000_001_000 };
const ofTrack = { room: { sid: 'RM_1', name: 'huddle' }, participant: { sid: 'PA_1', identity: 'ann' }, track };

/** One event of each type, as receiveWebhook returns it. @type {MediaEvent[]} */
const events = [
  { ...ids, type: 'room_started', room },
  { ...ids, type: 'room_finished', room: { ...room, active: false }, reason: 'api_delete' },
  { ...ids, type: 'participant_joined', room, participant },
  { ...ids, type: 'participant_left', room, participant: { ...participant, state: 'disconnected' }, reason: 'client_initiated' },
  { ...ids, type: 'participant_connection_aborted', room, participant: { ...participant, state: 'disconnected' } },
  { ...ids, type: 'track_published', ...ofTrack },
  { ...ids, type: 'track_unpublished', ...ofTrack },
];
/** Events in which the room is LiveKit's own JSON. @type {[string, object][]} */
const others = [
  ...['egress_started', 'egress_updated', 'egress_ended'].map((type) => [type, { egress: { egressId: 'EG_1', roomName: 'huddle', status: 'EGRESS_ACTIVE' } }]),
  ...['ingress_started', 'ingress_ended'].map((type) => [type, { ingress: { ingressId: 'IN_1', roomName: 'huddle' } }]),
  ...['agent_job_pending', 'agent_job_started', 'agent_job_ended'].map((type) => [type, { job: { id: 'AJ_1', room: { name: 'huddle' } } }]),
];

/** The request of a webhook, as a server sends it. */
const requestOf = ({ body, headers }) => ({ body, authorization: headers.authorization });

/** A webhook that is not made by signWebhook. @param {string} body @param {object} [claims] @param {string} [secret] */
function signed(body, claims = {}, secret = apiSecret) {
  const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: apiKey, exp: now + 300, nbf: now, sha256: createHash('sha256').update(body).digest('base64'), ...claims };
  const unsigned = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(all)}`;
  return { body, authorization: `${unsigned}.${createHmac('sha256', secret).update(unsigned).digest('base64url')}` };
}

describe('an event', () => {
  test.each(events.map((event) => [event.type, event]))('is received as it was signed: %s', async (_, event) => {
    const signedEvent = await media.signWebhook(event);
    expect(signedEvent.headers['content-type']).toBe('application/webhook+json');
    const received = await media.receiveWebhook(requestOf(signedEvent));
    expect(received).toEqual(event);
    expect(structuredClone(received)).toEqual(JSON.parse(JSON.stringify(event)));
  });

  test.each(others)('has LiveKit’s JSON, and the name of its room: %s', async (type, info) => {
    const received = await media.receiveWebhook(requestOf(await media.signWebhook({ ...ids, type, ...info })));
    expect(received).toMatchObject({ ...ids, type, ...info, room: { name: 'huddle' } });
  });

  test.each(events.map(({ type }) => type))('is verified by livekit-server-sdk: %s', async (type) => {
    const event = events.find((each) => each.type === type);
    const { body, headers } = await media.signWebhook(event);
    const received = await new WebhookReceiver(apiKey, apiSecret).receive(body, headers.authorization);
    expect(received).toMatchObject({ event: type, id: 'EV_1', createdAt: 1_700_000_001n, room: { name: 'huddle', sid: 'RM_1' } });
  });

  test('with only a type and a name gets an id and a time', async () => {
    const before = Date.now() - 1000;
    const received = await media.receiveWebhook(requestOf(await media.signWebhook({ type: 'participant_joined', room: { name: 'huddle' }, participant: { identity: 'ann' } })));
    expect(received).toMatchObject({ id: expect.stringMatching(/^EV_./), room: { name: 'huddle' }, participant: { identity: 'ann', state: 'active', canPublish: true } });
    expect(received?.createdAt).toBeGreaterThan(before);
  });

  test('of an unknown name is passed on', async () => {
    const body = '{"event":"room_paused","room":{"name":"huddle","novel":[{}]},"id":"EV_9","createdAt":"5","novel":1}';
    expect(await media.receiveWebhook(signed(body))).toMatchObject({ type: 'unknown', name: 'room_paused', id: 'EV_9', createdAt: 5000, room: { name: 'huddle' } });
  });

  test('has no secret of the server', async () => {
    const body = '{"event":"room_started","room":{"name":"huddle","turnPassword":"hunter2"}}';
    expect(JSON.stringify(await media.receiveWebhook(signed(body)))).not.toContain('hunter2');
  });

  test('of a room with another prefix is null, and otherwise has the name without it', async () => {
    const { body, authorization } = requestOf(await prefixed.signWebhook(events[0]));
    expect(JSON.parse(body).room.name).toBe('app:huddle');
    expect(await prefixed.receiveWebhook({ body, authorization })).toEqual(events[0]);
    expect(await media.receiveWebhook({ body, authorization })).toMatchObject({ room: { name: 'app:huddle' } });
    expect(await mediaAt(undefined, { roomPrefix: 'ap:' }).receiveWebhook({ body, authorization })).toBeNull();
    expect(await prefixed.receiveWebhook(requestOf(await media.signWebhook(events[0])))).toBeNull();
  });

  test('of one megabyte is received', async () => {
    const large = { ...participant, metadata: 'é'.repeat(500_000) };
    const received = await media.receiveWebhook(requestOf(await media.signWebhook({ ...events[2], participant: large })));
    expect(received?.participant.metadata).toHaveLength(500_000);
  });

  test('that is delivered again has the same id', async () => {
    const request = requestOf(await media.signWebhook(events[2]));
    const [first, second] = [await media.receiveWebhook(request), await media.receiveWebhook(request)];
    expect(second).toEqual(first);
  });

  test('is verified by the embedded engine’s provider, with its own key', async () => {
    const embedded = openEmbedded('ws://127.0.0.1:1');
    expect(await embedded.receiveWebhook(requestOf(await media.signWebhook(events[0])))).toEqual(events[0]);
    expect(await media.receiveWebhook(requestOf(await embedded.signWebhook(events[0])))).toEqual(events[0]);
    const other = openEmbedded('ws://127.0.0.1:1', { apiKey: undefined, apiSecret: undefined });
    expect(await failureOf(other.receiveWebhook(requestOf(await media.signWebhook(events[0]))))).toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

const hostile = () => {
  throw new Error('not readable');
};

describe('a request', () => {
  const body = '{"event":"room_started","room":{"name":"huddle"},"id":"EV_1"}';
  const { authorization } = signed(body);
  const now = Math.floor(Date.now() / 1000);
  const part = (/** @type {number} */ at) => authorization.split('.')[at];

  /** @type {[string, object][]} */
  const rejected = [
    ['with another secret', signed(body, {}, 'another secret')],
    ['with another key', signed(body, { iss: 'another key' })],
    ['with an expired token', signed(body, { exp: now - 61 })],
    ['with a token that is not valid yet', signed(body, { nbf: now + 120 })],
    ['with a token for another body', { body: body.replace('huddle', 'puddle'), authorization }],
    ['with one more space', { body: `${body} `, authorization }],
    ['without a hash of the body', signed(body, { sha256: undefined })],
    ['with an empty hash', signed(body, { sha256: '' })],
    ['with an altered signature', { body, authorization: `${part(0)}.${part(1)}.${part(2).replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}` }],
    ['without a signature', { body, authorization: `${part(0)}.${part(1)}.` }],
    ['without a token', { body, authorization: undefined }],
    ['with the token null', { body, authorization: null }],
    ['with an empty token', { body, authorization: '' }],
    ['with a text that is no token', { body, authorization: 'Basic dXNlcjpwYXNz' }],
    ['that is empty', { body: '', authorization }],
  ];

  test.each(rejected)('%s is UNAUTHENTICATED, and its error has no secret', async (_, request) => {
    const error = await failureOf(media.receiveWebhook(/** @type {any} */ (request)));
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED', operation: 'receiveWebhook', retryable: false });
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toMatch(/eyJ|huddle/);
    expect(error.message).not.toContain(apiSecret);
  });

  test.each([
    ['a string', () => body],
    ['a Buffer', () => Buffer.from(body)],
    ['a Uint8Array', () => new TextEncoder().encode(body)],
    ['a part of a buffer', () => Buffer.from(`xx${body}`).subarray(2)],
  ])('with the body as %s is received', async (_, bodyOf) => {
    expect(await media.receiveWebhook({ body: bodyOf(), authorization })).toMatchObject({ id: 'EV_1' });
  });

  test.each([
    ['an object', JSON.parse(body)],
    ['an array', [1]],
    ['nothing', undefined],
    ['null', null],
    ['a number', 7],
  ])('with a parsed body is INVALID_ARGUMENT, and the message names the frameworks’ options: %s', async (_, parsed) => {
    const error = await failureOf(media.receiveWebhook(/** @type {any} */ ({ body: parsed, authorization })));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', operation: 'receiveWebhook' });
    expect(error.message).toMatch(/express\.raw\(.*addContentTypeParser\(.*bodyParser: false/);
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a string', body],
    ['Express’s request', { body: Buffer.from(body), headers: { authorization } }],
    ['a token that is no string', { body, authorization: [authorization] }],
    ['a body that throws', Object.defineProperty({ authorization }, 'body', { get: hostile })],
    ['headers that throw', Object.defineProperty({ body, authorization }, 'headers', { get: hostile })],
  ])('of another shape is INVALID_ARGUMENT: %s', async (_, request) => {
    expect(await failureOf(media.receiveWebhook(/** @type {any} */ (request)))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test.each(['[]', '7', '{"event":7}', '{', 'null'])('with a signed body that is no event is INVALID_ARGUMENT: %s', async (wrong) => {
    expect(await failureOf(media.receiveWebhook(signed(wrong)))).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/^request\.body: /) });
  });

  test('of more than 10 MiB is LIMIT_EXCEEDED', async () => {
    const large = 'x'.repeat(10 * 1024 * 1024 + 1);
    expect(await failureOf(media.receiveWebhook({ body: large, authorization }))).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(await failureOf(media.receiveWebhook({ body: 'é'.repeat(5 * 1024 * 1024 + 1), authorization }))).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    const request = new Request('http://localhost/', { method: 'POST', body: large, headers: { authorization } });
    expect(await failureOf(media.receiveWebhook(request))).toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  describe('of the Fetch API', () => {
    const fetchRequest = (/** @type {any} */ content, headers = { authorization }) =>
      new Request('http://localhost/webhook', { method: 'POST', body: content, headers, duplex: 'half' });

    test('is received', async () => {
      expect(await media.receiveWebhook(fetchRequest(body))).toMatchObject({ id: 'EV_1' });
    });

    test('in many pieces is received', async () => {
      const pieces = new ReadableStream({
        start(controller) {
          for (const byte of new TextEncoder().encode(body)) controller.enqueue(new Uint8Array([byte]));
          controller.close();
        },
      });
      expect(await media.receiveWebhook(fetchRequest(pieces))).toMatchObject({ id: 'EV_1' });
    });

    test('without a token is UNAUTHENTICATED', async () => {
      expect(await failureOf(media.receiveWebhook(fetchRequest(body, {})))).toMatchObject({ code: 'UNAUTHENTICATED' });
    });

    test('without a token is rejected before its body is received', async () => {
      const pull = jest.fn();
      const endless = new ReadableStream({ pull }, { highWaterMark: 0 });
      expect(await failureOf(media.receiveWebhook(fetchRequest(endless, {})))).toMatchObject({ code: 'UNAUTHENTICATED' });
      expect(pull).not.toHaveBeenCalled();
    });

    test('with a locked body is INVALID_ARGUMENT', async () => {
      const request = fetchRequest(body);
      request.body?.getReader();
      expect(await failureOf(media.receiveWebhook(request))).toMatchObject({ code: 'INVALID_ARGUMENT', message: 'request: could not be read' });
    });

    test('that has been read is INVALID_ARGUMENT', async () => {
      const request = fetchRequest(body);
      await request.json();
      expect(await failureOf(media.receiveWebhook(request))).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('has been read') });
    });

    test('that stalls is TIMEOUT or ABORTED', async () => {
      const stalled = () => fetchRequest(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array([1])) }));
      expect(await failureOf(media.receiveWebhook(stalled(), { timeoutMs: 30 }))).toMatchObject({ code: 'TIMEOUT', operation: 'receiveWebhook', retryable: true });
      const aborting = new AbortController();
      const call = failureOf(media.receiveWebhook(stalled(), { signal: aborting.signal }));
      aborting.abort('closed');
      expect(await call).toMatchObject({ code: 'ABORTED', cause: 'closed' });
    });

    test('that breaks is INVALID_ARGUMENT, with its cause', async () => {
      const cause = new Error('reset');
      const broken = fetchRequest(new ReadableStream({ start: (controller) => controller.error(cause) }));
      expect(await failureOf(media.receiveWebhook(broken))).toMatchObject({ code: 'INVALID_ARGUMENT', cause });
    });
  });
});

test('signWebhook can be sent to a server as it is', async () => {
  const received = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk)).on('end', async () => {
      received.push(await media.receiveWebhook({ body: Buffer.concat(chunks), authorization: request.headers.authorization }));
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(() => new Promise((resolve) => server.close(resolve)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const { status } = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', ...(await media.signWebhook(events[0])) });
  expect([status, received]).toEqual([200, [events[0]]]);
});

const circular = {};
circular.self = circular;
test.each([
  ['no object', 'text'],
  ['null', null],
  ['no type', {}],
  ['a wrong type', { type: 7 }],
  ['a room without a name', { type: 'room_started', room: {} }],
  ['an empty room name', { type: 'room_started', room: { name: '' } }],
  ['a wrong field', { type: 'room_started', room: { name: 'r', numParticipants: 'many' } }],
  ['a BigInt', { type: 'egress_started', egress: { size: 1n } }],
  ['a circular object', { type: 'egress_started', egress: circular }],
  ['a type that throws', Object.defineProperty({}, 'type', { enumerable: true, get: hostile })],
  ['a field that throws', Object.defineProperty({ type: 'egress_started' }, 'egress', { enumerable: true, get: hostile })],
  ['a nested field that throws', { type: 'egress_started', egress: Object.defineProperty({}, 'size', { enumerable: true, get: hostile }) }],
  ['no JSON', { type: 'egress_started', toJSON: () => undefined }],
])('signWebhook rejects an invalid event with INVALID_ARGUMENT: %s', async (_, event) => {
  expect(await failureOf(media.signWebhook(/** @type {any} */ (event)))).toMatchObject({ code: 'INVALID_ARGUMENT', operation: 'signWebhook' });
});
