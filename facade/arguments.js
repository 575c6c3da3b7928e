'use strict';

// Types of arguments. Ranges and formats are checked in Rust.

const { MediaError } = require('./errors.js');
const { isPolluted, unlessPolluted } = require('./properties.js');

// Each check returns what was expected, or '' for a valid value.
const text = (value) => (typeof value !== 'string' ? 'a string' : value.isWellFormed() ? '' : 'a string without half a surrogate pair');
const number = (value) => (typeof value === 'number' ? '' : 'a number');
const boolean = (value) => (typeof value === 'boolean' ? '' : 'true or false');

/** The bits of the named track sources. */
function sourceBits(operation, parameter, value, bits, known) {
  if (value === undefined) return 0;
  return readSources(operation, parameter, value, known, NO_SOURCE_ALLOWED).reduce((all, source) => all | bits[source], 0);
}

/** A list of track sources; all of `value` is read once, because an array of getters may change. `none`: the message for an empty one. */
function readSources(operation, parameter, value, known, none) {
  if (!Array.isArray(value)) throw unexpected(operation, parameter, 'an array', value);
  const sources = Array.from(value);
  // For LiveKit an empty list means all sources.
  if (sources.length === 0) throw invalid(operation, parameter, none);
  const wrong = sources.findIndex((source) => !known.includes(source));
  if (wrong < 0) return sources;
  const got = typeof sources[wrong] === 'string' ? JSON.stringify(sources[wrong].slice(0, MAX_TEXT_CHARS)) : describe(sources[wrong]);
  throw invalid(operation, parameter, `expected only ${known.join(', ')}, got ${got}`);
}

/** Keys and values in one list, as the core takes them. `removes`: `null` as a value removes its key, as the empty text does. */
function attributesOf(operation, parameter, value, removes = false) {
  if (value === undefined || value === null) return undefined;
  // A Map has no own keys, so its entries would be lost.
  if (Object.prototype.toString.call(value) !== '[object Object]') throw unexpected(operation, parameter, 'an object', value);
  const entries = Object.entries(value);
  const flat = (removes ? entries.map(([key, each]) => [key, each === null ? '' : each]) : entries).flat();
  const wrong = flat.findIndex((entry) => text(entry) !== '');
  if (wrong < 0) return flat;
  throw unexpected(operation, parameter, 'keys and values that are well-formed strings', flat[wrong]);
}

const signal = (value) =>
  typeof value === 'object' &&
  value !== null &&
  typeof value.aborted === 'boolean' &&
  typeof value.addEventListener === 'function' &&
  typeof value.removeEventListener === 'function'
    ? ''
    : 'an AbortSignal';

const NO_SOURCE_ALLOWED = 'expected at least one source, got none; to allow none, set canPublish to false';

/** Maximum characters of a caller's text in a message; the rest is cut off. */
const MAX_TEXT_CHARS = 40;

// For each object argument: its fields, and the guarded ones, whose misspelling would lift a restriction, with the maximum edit
// distance of a misspelling. In a participant no other field is compared, because all columns of a user's record have to pass.
const SETTINGS = {
  fields: new Set(['maxParticipants', 'emptyTimeoutSecs', 'departureTimeoutSecs', 'metadata']),
  guarded: { maxParticipants: 2, emptyTimeoutSecs: 2, departureTimeoutSecs: 2 },
};
const PARTICIPANT = {
  fields: new Set([
    'identity',
    'name',
    'canPublish',
    'canSubscribe',
    'canPublishData',
    'canPublishSources',
    'canUpdateOwnMetadata',
    'hidden',
    'metadata',
    'attributes',
    'ttlSecs',
    'roomSettings',
  ]),
  guarded: { canPublish: 2, canSubscribe: 2, canPublishData: 2, canPublishSources: 2, hidden: 1, ttlSecs: 1 },
};
const CALL = { fields: new Set(['signal', 'timeoutMs']), guarded: { signal: 1, timeoutMs: 2 } };
/** Options of a method besides those of every call, with the maximum edit distance of a misspelling. */
const withCall = (guarded) => ({ fields: new Set([...CALL.fields, ...Object.keys(guarded)]), guarded: { ...CALL.guarded, ...guarded } });
const REMOVAL = withCall({ revokeTokens: 2 });
const MUTING = withCall({ sources: 1 });
const SENDING = withCall({ to: 0, topic: 1, reliable: 1 });
const ROOM_CHANGE = { fields: new Set(['metadata']), guarded: { metadata: 2 } };
const CHANGE = {
  fields: new Set(['name', 'metadata', 'attributes', 'canPublish', 'canSubscribe', 'canPublishData', 'canPublishSources', 'canUpdateOwnMetadata', 'hidden']),
  guarded: { canPublish: 2, canSubscribe: 2, canPublishData: 2, canPublishSources: 2, canUpdateOwnMetadata: 2, hidden: 1 },
};
const TOKEN = withCall({ origin: 1 });
const ATTACHMENT = withCall({ mediaPath: 2 });

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(operation, parameter, problem, cause) {
  const details = { operation };
  if (cause !== undefined) details.cause = cause;
  return new MediaError('INVALID_ARGUMENT', `${parameter}: ${problem}`, details);
}

function unexpected(operation, parameter, expected, value) {
  return invalid(operation, parameter, `expected ${expected}, got ${describe(value)}`);
}

/** Describes a value for a message, without the content of a string, which may be secret. */
function describe(value) {
  switch (typeof value) {
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'string':
      return value.isWellFormed() ? 'a string' : 'half a surrogate pair';
    case 'bigint':
      return 'a BigInt';
    case 'object':
      return value === null ? 'null' : isArray(value) ? 'an array' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}

function isArray(value) {
  try {
    return Array.isArray(value);
  } catch {
    // Array.isArray throws for a revoked proxy.
    return false;
  }
}

/** A string argument, as it is. */
function readText(operation, parameter, value) {
  const expected = text(value);
  if (expected) throw unexpected(operation, parameter, expected, value);
  return value;
}

/** An optional field, unchanged; `null` is invalid. */
function field(operation, parameter, record, name, value, check) {
  if (value === undefined || isPolluted(record, name)) return undefined;
  const expected = check(value);
  if (expected) throw unexpected(operation, `${parameter}.${name}`, expected, value);
  return value;
}

/** An optional field that grants nothing: `null` counts as absent, as in a database row. */
function nullableField(operation, parameter, record, name, value, check) {
  return value === null ? undefined : field(operation, parameter, record, name, value, check);
}

/** Returns what `read` makes of an object argument; rejects misspelt restrictions. `read` reads each field once. */
function readFields(operation, parameter, value, { fields, guarded }, read, bits, sources) {
  try {
    if (!isRecord(value)) throw unexpected(operation, parameter, 'an object', value);
    for (const key in value) {
      if (!fields.has(key)) refuseMisspelling(operation, parameter, value, key, guarded);
    }
    return read(operation, parameter, value, bits, sources);
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw invalid(operation, parameter, 'could not be read', error);
  }
}

let misspelling;

/** Rejects a misspelt restriction, because it would not take effect. Other keys, of a whole user record, are ignored. */
function refuseMisspelling(operation, parameter, record, key, guarded) {
  misspelling ??= require('./misspelling.js');
  const near = misspelling.findMisspelt(key, guarded);
  if (near === undefined || isPolluted(record, key)) return;
  // Escaped as in JSON, because a key from a request's body may contain a line break.
  throw invalid(operation, `${parameter}.${JSON.stringify(key.slice(0, MAX_TEXT_CHARS)).slice(1, -1)}`, `no such field; did you mean ${near}?`);
}

function readSettings(operation, parameter, value) {
  return value === undefined ? undefined : readFields(operation, parameter, value, SETTINGS, settingsOf);
}

function settingsOf(operation, parameter, value) {
  return {
    maxParticipants: nullableField(operation, parameter, value, 'maxParticipants', value.maxParticipants, number),
    emptyTimeoutSecs: nullableField(operation, parameter, value, 'emptyTimeoutSecs', value.emptyTimeoutSecs, number),
    departureTimeoutSecs: nullableField(operation, parameter, value, 'departureTimeoutSecs', value.departureTimeoutSecs, number),
    metadata: nullableField(operation, parameter, value, 'metadata', value.metadata, text),
  };
}

/** `grants` is a bit set of permissions; `bits` has the bit of each, `sources` the names of track sources. */
function readParticipant(operation, value, bits, sources) {
  return readFields(operation, 'participant', value, PARTICIPANT, participantOf, bits, sources);
}

// Without a loop over the names: computed names take a quarter of the time of a whole token.
function participantOf(operation, parameter, value, bits, sources) {
  const identity = readText(operation, 'participant.identity', unlessPolluted(value, 'identity', value.identity));
  const name = nullableField(operation, parameter, value, 'name', value.name, text);
  const grants =
    (field(operation, parameter, value, 'canPublish', value.canPublish, boolean) === false ? 0 : bits.canPublish) |
    (field(operation, parameter, value, 'canSubscribe', value.canSubscribe, boolean) === false ? 0 : bits.canSubscribe) |
    (field(operation, parameter, value, 'canPublishData', value.canPublishData, boolean) === false ? 0 : bits.canPublishData) |
    (field(operation, parameter, value, 'canUpdateOwnMetadata', value.canUpdateOwnMetadata, boolean) ? bits.canUpdateOwnMetadata : 0) |
    (field(operation, parameter, value, 'hidden', value.hidden, boolean) ? bits.hidden : 0) |
    sourceBits(operation, 'participant.canPublishSources', unlessPolluted(value, 'canPublishSources', value.canPublishSources), bits, sources);
  const metadata = nullableField(operation, parameter, value, 'metadata', value.metadata, text);
  const attributes = attributesOf(operation, 'participant.attributes', unlessPolluted(value, 'attributes', value.attributes));
  const ttlSecs = nullableField(operation, parameter, value, 'ttlSecs', value.ttlSecs, number);
  const roomSettings = readSettings(operation, 'participant.roomSettings', unlessPolluted(value, 'roomSettings', value.roomSettings));
  return { identity, name, grants, metadata, attributes, ttlSecs, roomSettings };
}

/** The new metadata of a room; required, because nothing else changes. */
function readRoomChange(operation, value) {
  return readFields(operation, 'change', value, ROOM_CHANGE, (_, __, record) => readText(operation, 'change.metadata', unlessPolluted(record, 'metadata', record.metadata)));
}

/** Changes of a participant, for JSON: what is not to change is `undefined`. */
function readChange(operation, value, sources) {
  return readFields(operation, 'change', value, CHANGE, changeOf, undefined, sources);
}

function changeOf(operation, parameter, value, _, sources) {
  const flag = (name) => field(operation, parameter, value, name, value[name], boolean);
  const named = unlessPolluted(value, 'canPublishSources', value.canPublishSources);
  return {
    __proto__: null,
    name: nullableField(operation, parameter, value, 'name', value.name, text),
    metadata: nullableField(operation, parameter, value, 'metadata', value.metadata, text),
    attributes: bare(attributesOf(operation, 'change.attributes', unlessPolluted(value, 'attributes', value.attributes), true)),
    canPublish: flag('canPublish'),
    canSubscribe: flag('canSubscribe'),
    canPublishData: flag('canPublishData'),
    canUpdateOwnMetadata: flag('canUpdateOwnMetadata'),
    hidden: flag('hidden'),
    canPublishSources: named === undefined ? undefined : bare(readSources(operation, 'change.canPublishSources', named, sources, NO_SOURCE_ALLOWED)),
  };
}

/** A list without prototype, so that JSON.stringify calls no toJSON of a polluted one. */
function bare(list) {
  return list === undefined ? undefined : Object.setPrototypeOf([...list], null);
}

/** Options of `removeParticipant`. */
function readRemoval(operation, value) {
  return readOptions(operation, value, REMOVAL, (record) => ({
    revokeTokens: field(operation, 'options', record, 'revokeTokens', record.revokeTokens, boolean),
  }));
}

/** Options of `muteParticipant`. */
function readMuting(operation, value, known) {
  return readOptions(operation, value, MUTING, (record) => {
    const sources = unlessPolluted(record, 'sources', record.sources);
    const none = 'expected at least one source, got none; leave it out to mute all tracks';
    return { sources: sources === undefined ? undefined : bare(readSources(operation, 'options.sources', sources, known, none)) };
  });
}

/** Options of `sendData`. */
function readSending(operation, value) {
  return readOptions(operation, value, SENDING, (record) => ({
    to: recipientsOf(operation, unlessPolluted(record, 'to', record.to)),
    topic: field(operation, 'options', record, 'topic', record.topic, text),
    reliable: field(operation, 'options', record, 'reliable', record.reliable, boolean) ?? true,
  }));
}

/** Identities; at least one, because an empty list may stand for no recipient or, as in LiveKit, for all. */
function recipientsOf(operation, value) {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw unexpected(operation, 'options.to', 'an array', value);
  const identities = Array.from(value);
  if (identities.length === 0) throw invalid(operation, 'options.to', 'expected at least one identity, got none; leave it out to send to all');
  identities.forEach((identity, i) => readText(operation, `options.to[${i}]`, identity));
  return bare(identities);
}

/** An event to sign, as JSON. Its fields are checked in Rust. */
function readEvent(operation, value) {
  if (!isRecord(value)) throw unexpected(operation, 'event', 'an object', value);
  try {
    readText(operation, 'event.type', unlessPolluted(value, 'type', value.type));
    return readText(operation, 'event', JSON.stringify(bareRecord(value)));
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw invalid(operation, 'event', 'cannot be written as JSON', error);
  }
}

/** A copy without prototype, so that JSON.stringify calls no toJSON of a polluted Object.prototype. */
const bareRecord = (record) => ({ __proto__: null, ...record });

/** A payload: a string as `text`, bytes in base64 as `bytes`. */
function readData(operation, value) {
  if (typeof value === 'string') return { text: readText(operation, 'data', value), bytes: undefined };
  // Also of another realm, such as under jest.
  if (!isBytes(value)) throw unexpected(operation, 'data', 'a string or a Uint8Array', value);
  return { text: undefined, bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
}

function isBytes(value) {
  return require('node:util').types.isUint8Array(value);
}

/** Options of every call, and what `more` reads of those of one method. */
function readOptions(operation, value, shape, more) {
  const read = (_, parameter, record) => ({ ...callOptionsOf(operation, parameter, record), ...more(record) });
  return readFields(operation, 'options', value === undefined ? NO_OPTIONS : value, shape, read);
}

function readCallOptions(operation, value) {
  return value === undefined ? NO_OPTIONS : readFields(operation, 'options', value, CALL, callOptionsOf);
}

const NO_OPTIONS = { signal: undefined, timeoutMs: undefined, origin: undefined };

function callOptionsOf(operation, parameter, value) {
  return {
    signal: field(operation, parameter, value, 'signal', value.signal, signal),
    timeoutMs: field(operation, parameter, value, 'timeoutMs', value.timeoutMs, number),
  };
}

/** Options of `generateToken`. */
function readTokenOptions(operation, value) {
  if (value === undefined) return NO_OPTIONS;
  return readFields(operation, 'options', value, TOKEN, (_, parameter, record) => ({
    ...callOptionsOf(operation, parameter, record),
    origin: originOf(operation, unlessPolluted(record, 'origin', record.origin)),
  }));
}

/** The origin of a URL, such as that of the request. */
function originOf(operation, value) {
  if (value === undefined) return undefined;
  readText(operation, 'options.origin', value);
  const { origin, protocol } = URL.canParse(value) ? new URL(value) : NO_URL;
  if (protocol === 'http:' || protocol === 'https:') return origin;
  throw invalid(operation, 'options.origin', 'expected an http or https origin, such as https://app.example');
}

const NO_URL = { origin: undefined, protocol: undefined };

/** Arguments of `attach`. */
function readAttachment(operation, server, options = {}) {
  if (!isServer(server)) throw unexpected(operation, 'server', 'an HTTP or HTTPS server of Node.js', server);
  return readFields(operation, 'options', options, ATTACHMENT, (_, parameter, record) => ({
    ...callOptionsOf(operation, parameter, record),
    mediaPath: mediaPathOf(operation, unlessPolluted(record, 'mediaPath', record.mediaPath)),
  }));
}

/** Whether it is a server of `node:http`, `node:https`, or `node:http2`, in any realm. */
function isServer(value) {
  const methods = ['address', 'emit', 'listenerCount', 'on', 'once', 'removeListener'];
  return isRecord(value) && typeof value.listening === 'boolean' && methods.every((name) => typeof value[name] === 'function');
}

/** A path without trailing slashes, as in a request. */
function mediaPathOf(operation, value = '/media') {
  const path = readText(operation, 'options.mediaPath', value).replace(/\/+$/, '');
  if (/^(?:\/[\w.~!$&'()*+,;=:@%-]+)*$/.test(path)) return path;
  throw invalid(operation, 'options.mediaPath', 'expected a path such as /media, without query');
}

/** Whether `signal` has aborted. The signal is the caller's object, so its getters may throw. */
function isAborted(operation, signal) {
  try {
    return signal.aborted;
  } catch (error) {
    throw invalid(operation, 'options.signal', 'could not be read', error);
  }
}

function aborted(operation, signal) {
  let cause;
  try {
    cause = signal.reason;
  } catch (error) {
    throw invalid(operation, 'options.signal', 'could not be read', error);
  }
  return new MediaError('ABORTED', 'the call was aborted by its signal', { operation, cause });
}

module.exports = {
  aborted,
  bareRecord,
  describe,
  invalid,
  isAborted,
  isRecord,
  mediaPathOf,
  readAttachment,
  readCallOptions,
  readChange,
  readData,
  readEvent,
  readMuting,
  readParticipant,
  readRemoval,
  readRoomChange,
  readSending,
  readSettings,
  readText,
  readTokenOptions,
};
