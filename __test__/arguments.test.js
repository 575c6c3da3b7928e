'use strict';

// Invalid arguments. Both providers go through the same guard, so the tables run on LiveKit's; the end of the file shows that the
// embedded engine has the guard too.

require('./support/environment.js');
const { MediaError } = require('../index.js');
const { BAD_ATTRIBUTES, BAD_SIGNALS, BAD_SOURCES, BAD_TEXTS, NOT_BOOLEANS, NOT_RECORDS, badNames, badNumbers, badRecords } = require('./support/bad-values.js');
const { ann, rejectionOf, withIdentity, withOptions, withRoom } = require('./support/argument-calls.js');
const { failureOf } = require('./support/failure.js');
const { FaultServer } = require('./support/fault-server.js');
const { mediaAt, openEmbedded } = require('./support/media.js');
const { ormUser } = require('./support/records.js');
const { listening } = require('./support/sockets.js');
const { readToken } = require('./support/token.js');

const U32 = 2 ** 32 - 1;
const MAX_TTL_SECS = 2_592_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** @type {FaultServer} */
let server;
/** @type {import('../index.js').MediaService} */
let media;
/** With a room prefix of four bytes. */
let prefixed;
/** Ports that this process listens on before the first call. */
let before;

beforeAll(async () => {
  server = await FaultServer.start();
  media = mediaAt(server.url);
  prefixed = mediaAt(server.url, { roomPrefix: 'app:' });
  before = listening();
});

afterAll(() => server.close());

/** `null` is allowed where a database row may have it for a value that isn't set. */
const exceptNull = ({ null: _, ...rest }) => rest;

/** In a change, `null` removes a key. */
const exceptNullInside = ({ 'null inside': _, ...rest }) => rest;

const exceptBytes = ({ 'a buffer': _, ...rest }) => rest;

const settingsFields = {
  maxParticipants: exceptNull(badNumbers(0, U32)),
  emptyTimeoutSecs: exceptNull(badNumbers(0, U32)),
  departureTimeoutSecs: exceptNull(badNumbers(0, U32)),
  metadata: exceptNull(BAD_TEXTS),
};

const participantFields = {
  identity: badNames(),
  name: exceptNull(BAD_TEXTS),
  canPublish: NOT_BOOLEANS,
  canSubscribe: NOT_BOOLEANS,
  canPublishData: NOT_BOOLEANS,
  canPublishSources: BAD_SOURCES,
  canUpdateOwnMetadata: NOT_BOOLEANS,
  hidden: NOT_BOOLEANS,
  metadata: exceptNull(BAD_TEXTS),
  attributes: exceptNull(BAD_ATTRIBUTES),
  ttlSecs: exceptNull(badNumbers(1, MAX_TTL_SECS)),
  roomSettings: badRecords({}, ['maxParticipants', 'metadata']),
};

const changeFields = {
  name: { ...exceptNull(BAD_TEXTS), 'an empty string': '' },
  metadata: { ...exceptNull(BAD_TEXTS), 'an empty string': '' },
  attributes: exceptNullInside(exceptNull(BAD_ATTRIBUTES)),
  canPublish: NOT_BOOLEANS,
  canSubscribe: NOT_BOOLEANS,
  canPublishData: NOT_BOOLEANS,
  canPublishSources: BAD_SOURCES,
  canUpdateOwnMetadata: NOT_BOOLEANS,
  hidden: NOT_BOOLEANS,
};

/** @type {[string, Record<string, unknown>, (value: any) => Promise<unknown>, operation: string][]} */
const parameters = [
  ...Object.entries(withRoom).flatMap(([method, call]) => [
    [`${method} roomId`, { ...badNames(), undefined }, (value) => call(value, media), method],
    [`${method} roomId with a prefix`, { ...badNames(4), undefined }, (value) => call(value, prefixed), method],
  ]),
  ...Object.entries(withIdentity).map(([method, call]) => [`${method} identity`, { ...badNames(), undefined }, (value) => call(value, media), method]),
  ['updateRoom change', { ...badRecords({}, ['metadata']), undefined }, (value) => media.updateRoom('room', value), 'updateRoom'],
  ['updateRoom change.metadata', { ...BAD_TEXTS, undefined }, (metadata) => media.updateRoom('room', { metadata }), 'updateRoom'],
  ['updateParticipant change', { ...badRecords({}, Object.keys(changeFields)), undefined }, (value) => media.updateParticipant('room', 'ann', value), 'updateParticipant'],
  ...Object.entries(changeFields).map(([field, bad]) => [
    `updateParticipant change.${field}`,
    bad,
    (value) => media.updateParticipant('room', 'ann', { [field]: value }),
    'updateParticipant',
  ]),
  ['muteParticipant options.sources', BAD_SOURCES, (sources) => media.muteParticipant('room', 'ann', { sources }), 'muteParticipant'],
  ['sendData data', { ...exceptBytes(BAD_TEXTS), undefined }, (value) => media.sendData('room', value), 'sendData'],
  ['sendData options.to', { ...NOT_RECORDS, 'a record': {} }, (to) => media.sendData('room', 'hello', { to }), 'sendData'],
  ['sendData options.to[0]', { ...badNames(), undefined }, (identity) => media.sendData('room', 'hello', { to: [identity] }), 'sendData'],
  ['sendData options.topic', BAD_TEXTS, (topic) => media.sendData('room', 'hello', { topic }), 'sendData'],
  ['sendData options.reliable', NOT_BOOLEANS, (reliable) => media.sendData('room', 'hello', { reliable }), 'sendData'],
  ['removeParticipant options.revokeTokens', NOT_BOOLEANS, (revokeTokens) => media.removeParticipant('room', 'ann', { revokeTokens }), 'removeParticipant'],
  ['createRoom settings', badRecords({}, ['maxParticipants', 'emptyTimeoutSecs', 'metadata']), (value) => media.createRoom('room', value), 'createRoom'],
  ...Object.entries(settingsFields).flatMap(([field, bad]) => [
    [`createRoom settings.${field}`, bad, (value) => media.createRoom('room', { [field]: value }), 'createRoom'],
    [`generateToken participant.roomSettings.${field}`, bad, (value) => media.generateToken('room', { ...ann, roomSettings: { [field]: value } }), 'generateToken'],
  ]),
  ['generateToken participant', { ...badRecords(ann, Object.keys(participantFields)), undefined }, (value) => media.generateToken('room', value), 'generateToken'],
  ...Object.entries(participantFields).map(([field, bad]) => [
    `generateToken participant.${field}`,
    field === 'identity' ? { ...bad, undefined } : bad,
    (value) => media.generateToken('room', { ...ann, [field]: value }),
    'generateToken',
  ]),
  ...Object.entries(withOptions).flatMap(([method, call]) => [
    [`${method} options`, badRecords({}, ['signal', 'timeoutMs']), (value) => call(value, media), method],
    [`${method} options.signal`, method === 'generateToken' || method === 'mediaUrl' ? withoutListening(BAD_SIGNALS) : BAD_SIGNALS, (signal) => call({ signal }, media), method],
    [`${method} options.timeoutMs`, badNumbers(1, MAX_TIMEOUT_MS), (timeoutMs) => call({ timeoutMs }, media), method],
  ]),
];

/** Calls that don't wait never add a listener to the signal. */
function withoutListening({ 'one whose addEventListener throws': _, ...rest }) {
  return rest;
}

describe('an invalid argument', () => {
  test.each(parameters)('%s: every bad value is INVALID_ARGUMENT', async (_, bad, call, operation) => {
    expect(Object.keys(bad).length).toBeGreaterThanOrEqual(24);
    const outcomes = {};
    for (const [name, value] of Object.entries(bad)) {
      const error = await rejectionOf(call, value);
      outcomes[name] = [error instanceof MediaError, error.code, error.operation, error.retryable, 'upstreamStatus' in error, 'requestId' in error];
    }
    const expected = [true, 'INVALID_ARGUMENT', operation, false, false, false];
    expect(outcomes).toEqual(Object.fromEntries(Object.keys(bad).map((name) => [name, expected])));
  });

  test('is never sent, and starts nothing', () => {
    expect(server.connections).toBe(0);
    expect(listening()).toEqual(before);
  });
});

describe('the embedded engine', () => {
  /** @type {import('../index.js').MediaService} */
  let embedded;
  let ports;
  beforeAll(() => {
    embedded = openEmbedded(server.url);
    ports = listening();
  });

  test.each(Object.entries(withRoom))('%s rejects an invalid room id with INVALID_ARGUMENT', async (operation, call) => {
    expect(await failureOf(call('', embedded))).toMatchObject({ code: 'INVALID_ARGUMENT', operation, retryable: false });
  });

  test.each(Object.entries(withOptions))('%s rejects invalid options with INVALID_ARGUMENT', async (operation, call) => {
    for (const options of [null, { timeoutMs: 0 }, { signal: {} }, { timeout: 1 }]) {
      expect(await failureOf(call(options, embedded))).toMatchObject({ code: 'INVALID_ARGUMENT', operation, retryable: false });
    }
  });

  test.each([
    ['createRoom', 'settings', () => embedded.createRoom('room', { maxParticipants: -1 })],
    ['generateToken', 'participant', () => embedded.generateToken('room', { ...ann, canPublish: 'false' })],
    ['generateToken', 'misspelt restriction', () => embedded.generateToken('room', { ...ann, canPublsh: false })],
    ['removeParticipant', 'identity', () => embedded.removeParticipant('room', 1)],
  ])('%s rejects an invalid %s with INVALID_ARGUMENT', async (operation, _, call) => {
    expect(await failureOf(call())).toMatchObject({ code: 'INVALID_ARGUMENT', operation, retryable: false });
  });

  test('does not start for invalid arguments', () => {
    expect(listening()).toEqual(ports);
  });

  test('accepts a name of 256 bytes, and a database record', async () => {
    const name = '😀'.repeat(64);
    expect((await embedded.createRoom(name)).name).toBe(name);
    const { token } = await embedded.generateToken(name, { ...ormUser(), identity: name });
    expect(readToken(token).claims).toMatchObject({ sub: name, video: { room: name } });
  });
});
