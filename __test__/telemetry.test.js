'use strict';

// Diagnostics of calls: the tracing channel, and OpenTelemetry's spans.

require('./support/environment.js');
const { tracingChannel } = require('node:diagnostics_channel');
const { inspect } = require('node:util');
const { SpanKind, SpanStatusCode, context, trace } = require('@opentelemetry/api');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const embedded = require('./support/embedded.js');
const { failureOf } = require('./support/failure.js');
const { twirp } = require('./support/fault-server.js');
const { apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { cleanUp, serveMedia } = require('./support/serve.js');
const { MediaInstrumentation } = require('@maravilla-labs/platform/otel');
const { name, version } = require('../package.json');

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];
const ann = { identity: 'ann', name: 'Ann', metadata: 'text of Ann' };

/** Records the channel's events until the end of the test: the name of each, and its message. */
function record() {
  const events = [];
  const handlers = Object.fromEntries(EVENTS.map((event) => [event, (message) => events.push([event, message])]));
  tracingChannel('maravilla:media').subscribe(handlers);
  cleanUp(() => tracingChannel('maravilla:media').unsubscribe(handlers));
  return events;
}

const hostOf = (url) => new URL(url).host;

describe('the tracing channel', () => {
  const withIdentity = ['generateToken', 'getParticipant', 'muteParticipant', 'removeParticipant', 'updateParticipant'];
  const withoutRoom = ['attach', 'listRooms', 'mediaUrl', 'receiveWebhook', 'signWebhook'];

  test.each(Object.entries(roomCalls))('publishes a call on a LiveKit server: %s', async (operation, call) => {
    const { media, server } = await serveMedia();
    const events = record();
    await call(media);
    expect(events.map(([event]) => event)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(new Set(events.map(([, message]) => message)).size).toBe(1);
    const identity = withIdentity.includes(operation) ? { identity: 'ann' } : {};
    const room = withoutRoom.includes(operation) ? {} : { roomId: 'room' };
    expect(events[0][1]).toEqual({ operation, provider: 'livekit', serverAddress: hostOf(server.url), ...room, ...identity });
  });

  test('publishes a call of every method, on the embedded engine', async () => {
    const { media } = embedded.openEmbedded();
    expect(Object.keys(embedded.calls).sort()).toEqual(Object.keys(media).sort());
    for (const [operation, call] of Object.entries(embedded.calls)) {
      const events = record();
      await call(media);
      const [, message] = events[0];
      expect(message).toMatchObject({ operation, provider: 'embedded' });
      expect([operation, message.roomId]).toEqual([operation, withoutRoom.includes(operation) ? undefined : 'room']);
      expect(events.filter(([, each]) => each === message).map(([event]) => event)).toEqual(expect.arrayContaining(['start', 'end', 'asyncStart', 'asyncEnd']));
      expect(message).not.toHaveProperty('serverAddress');
    }
  });

  test('names the default port of https', async () => {
    const events = record();
    await mediaAt('wss://rooms.example').createRoom('room', undefined, { signal: AbortSignal.abort() }).catch(() => {});
    expect(events[0][1].serverAddress).toBe('rooms.example:443');
  });

  test('never contains a token, a secret or metadata', async () => {
    const events = record();
    const { media } = await serveMedia();
    const { token } = await media.generateToken('room', ann);
    await media.createRoom('room', { metadata: 'text of the room' });
    const shown = inspect(events, { showHidden: true, depth: Infinity, maxStringLength: Infinity });
    expect(shown).toContain("identity: 'ann'");
    for (const secret of [token, apiSecret, ann.metadata, 'text of the room']) expect(shown).not.toContain(secret);
  });

  test('publishes the error of a failed call, and the id of its request', async () => {
    const { media } = await serveMedia(twirp(404, 'not_found'));
    const events = record();
    const error = await failureOf(media.removeParticipant('room', 'ann'));
    expect(events.map(([event]) => event)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(events[2][1].error).toBe(error);
    expect(error.requestId).toMatch(/^\S{8,}$/);
    expect(events[2][1].requestId).toBe(error.requestId);
  });

  test('publishes invalid arguments, without a room or identity of another type', async () => {
    const { media } = await serveMedia();
    const events = record();
    expect(await failureOf(media.generateToken(7, ann))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    const hostile = { get identity() { throw new Error('no identity'); } };
    expect(await failureOf(media.generateToken('room', hostile))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    const started = events.filter(([event]) => event === 'start').map(([, { error: _, ...message }]) => message);
    expect(started).toEqual([{ operation: 'generateToken', provider: 'livekit' }, { operation: 'generateToken', provider: 'livekit', roomId: 'room' }]);
  });

  test.each(withoutRoom)('publishes no string argument of a method without a room: %s', async (operation) => {
    const events = record();
    const call = mediaAt('wss://rooms.example')[operation]('eyJ-secret');
    expect(await failureOf(call)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(events[0][1]).not.toHaveProperty('roomId');
  });

  test('leaves the result, and the line of the caller in the stack of an error', async () => {
    const { media } = await serveMedia(twirp(500, 'internal'));
    record();
    async function callerOfCreateRoom() {
      await media.createRoom('room', undefined, { timeoutMs: 1000 });
    }
    const error = await failureOf(callerOfCreateRoom());
    expect(error.stack).toContain('callerOfCreateRoom');
    expect(await media.mediaUrl()).toMatch(/^ws:/);
  });
});

describe('OpenTelemetry', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  beforeAll(() => provider.register());
  beforeEach(() => exporter.reset());
  afterAll(async () => {
    await provider.shutdown();
    trace.disable();
    context.disable();
  });

  /** Registers the instrumentation until the end of the test. */
  function register(config) {
    const instrumentation = new MediaInstrumentation(config);
    cleanUp(registerInstrumentations({ tracerProvider: provider, instrumentations: [instrumentation] }));
    return instrumentation;
  }

  test('makes a client span of a call, as a child of the active span', async () => {
    const { media, server } = await serveMedia();
    register();
    const parent = trace.getTracer('app').startSpan('request');
    await context.with(trace.setSpan(context.active(), parent), () => media.removeParticipant('room', 'ann'));
    parent.end();
    const [span] = exporter.getFinishedSpans();
    expect(span).toMatchObject({ name: 'media.removeParticipant', kind: SpanKind.CLIENT, status: { code: SpanStatusCode.UNSET } });
    expect(span.parentSpanContext.spanId).toBe(parent.spanContext().spanId);
    expect(span.instrumentationScope).toMatchObject({ name, version });
    expect(span.attributes).toEqual({
      'maravilla.media.operation': 'removeParticipant',
      'maravilla.media.provider': 'livekit',
      'maravilla.media.room': 'room',
      'maravilla.media.identity': 'ann',
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(server.url).port),
    });
  });

  test('sets status, error type and HTTP status of a failed call', async () => {
    const { media } = await serveMedia(twirp(404, 'not_found'));
    register();
    const error = await failureOf(media.removeParticipant('room', 'ann'));
    const [span] = exporter.getFinishedSpans();
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: error.message });
    expect(span.attributes).toMatchObject({ 'error.type': 'PARTICIPANT_NOT_FOUND', 'http.response.status_code': 404, 'maravilla.media.request_id': error.requestId });
  });

  test('on the embedded engine has no server address, and no span contains a token', async () => {
    const { media } = embedded.openEmbedded();
    register();
    const { token } = await media.generateToken('room', ann);
    const [span] = exporter.getFinishedSpans();
    expect(Object.keys(span.attributes).sort()).toEqual(['identity', 'operation', 'provider', 'room'].map((each) => `maravilla.media.${each}`));
    expect(inspect(exporter.getFinishedSpans(), { depth: Infinity, maxStringLength: Infinity })).not.toContain(token);
  });

  test('uses the global provider if none is set', async () => {
    const { media } = await serveMedia();
    const instrumentation = new MediaInstrumentation();
    cleanUp(() => instrumentation.disable());
    instrumentation.enable();
    await media.mediaUrl();
    expect(exporter.getFinishedSpans()).toHaveLength(1);
  });

  test('makes no spans while it is disabled', async () => {
    const { media } = await serveMedia();
    const instrumentation = register({ enabled: false });
    await media.mediaUrl();
    instrumentation.disable();
    await media.mediaUrl();
    expect(exporter.getFinishedSpans()).toHaveLength(1);
    expect(tracingChannel('maravilla:media').hasSubscribers).toBe(false);
    const idle = new MediaInstrumentation({ enabled: false });
    expect([idle.getConfig(), tracingChannel('maravilla:media').hasSubscribers]).toEqual([{ enabled: false }, false]);
  });
});
