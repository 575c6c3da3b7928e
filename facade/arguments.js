'use strict';

// The shapes of JavaScript values. What a value must say (lengths, ranges) is checked in Rust.

const { MediaError } = require('./errors.js');

const SOURCES = ['camera', 'microphone', 'screen_share', 'screen_share_audio'];

const text = (value) =>
  typeof value !== 'string' ? 'must be a string' : value.isWellFormed() ? '' : 'holds half a surrogate pair';
const number = (value) => (typeof value === 'number' ? '' : 'must be a number');
const boolean = (value) => (typeof value === 'boolean' ? '' : 'must be true or false');

/** The named sources, copied: an array of getters could answer otherwise the second time. */
function sourcesOf(operation, parameter, value) {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw invalid(operation, parameter, 'must be an array');
  const sources = Array.from(value);
  // LiveKit takes an empty list for "all sources": the opposite of what it looks like.
  if (sources.length === 0) throw invalid(operation, parameter, 'must name at least one source; to allow none, set canPublish to false');
  if (sources.every((source) => SOURCES.includes(source))) return sources;
  throw invalid(operation, parameter, `may hold only ${SOURCES.join(', ')}`);
}

/** Keys and values one after the other, as the core takes them. */
function attributesOf(operation, parameter, value) {
  if (value === undefined) return undefined;
  // A Map has no keys of its own, so that all it holds would be lost.
  const isPlain = Object.prototype.toString.call(value) === '[object Object]';
  const flat = isPlain ? Object.entries(value).flat() : [];
  if (isPlain && flat.every((entry) => text(entry) === '')) return flat;
  throw invalid(operation, parameter, 'must be an object whose keys and values are well-formed strings');
}

const signal = (value) =>
  typeof value === 'object' &&
  value !== null &&
  typeof value.aborted === 'boolean' &&
  typeof value.addEventListener === 'function' &&
  typeof value.removeEventListener === 'function'
    ? ''
    : 'must be an AbortSignal';

const MOST_TIMEOUT_MS = 2_147_483_647;
const budget = (value) =>
  Number.isInteger(value) && value >= 1 && value <= MOST_TIMEOUT_MS ? '' : `must be a whole number from 1 to ${MOST_TIMEOUT_MS}`;

const SETTINGS = new Set(['maxParticipants', 'emptyTimeoutSecs', 'departureTimeoutSecs', 'metadata']);
const PARTICIPANT = new Set([
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
]);
const CALL = new Set(['signal', 'timeoutMs']);

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(operation, parameter, problem, cause) {
  const details = { operation };
  if (cause !== undefined) details.cause = cause;
  return new MediaError('INVALID_ARGUMENT', `${parameter} ${problem}`, details);
}

/** A string argument, as it is. */
function readText(operation, parameter, value) {
  const problem = text(value);
  if (problem) throw invalid(operation, parameter, problem);
  return value;
}

/** An optional field, as it is. */
function field(operation, parameter, name, value, check) {
  if (value === undefined) return undefined;
  const problem = check(value);
  if (problem) throw invalid(operation, `${parameter}.${name}`, problem);
  return value;
}

/** What `read` makes of an object argument; a near miss of a known name is refused. `read` reads each field once. */
function readFields(operation, parameter, value, known, read) {
  try {
    if (!isRecord(value)) throw invalid(operation, parameter, 'must be an object');
    for (const key in value) {
      if (!known.has(key)) refuseNearMiss(operation, parameter, key, known);
    }
    return read(operation, parameter, value);
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw invalid(operation, parameter, 'could not be read', error);
  }
}

/** A mistyped permission must not grant it. Other keys, of a whole user record, are none of ours. */
function refuseNearMiss(operation, parameter, key, known) {
  const near = nearest(key, [...known]);
  if (near === undefined && !key.startsWith('can')) return;
  const problem = near === undefined ? 'is not a known permission' : `is not known: did you mean ${near}?`;
  throw invalid(operation, `${parameter}.${key.slice(0, 40)}`, problem);
}

function readSettings(operation, parameter, value) {
  return value === undefined ? undefined : readFields(operation, parameter, value, SETTINGS, settingsOf);
}

function settingsOf(operation, parameter, value) {
  return {
    maxParticipants: field(operation, parameter, 'maxParticipants', value.maxParticipants, number),
    emptyTimeoutSecs: field(operation, parameter, 'emptyTimeoutSecs', value.emptyTimeoutSecs, number),
    departureTimeoutSecs: field(operation, parameter, 'departureTimeoutSecs', value.departureTimeoutSecs, number),
    metadata: field(operation, parameter, 'metadata', value.metadata, text),
  };
}

function readParticipant(operation, value) {
  return readFields(operation, 'participant', value, PARTICIPANT, participantOf);
}

// Spelled out, field by field: reading by computed names takes a quarter of the time of a whole token.
function participantOf(operation, parameter, value) {
  return {
    identity: readText(operation, 'participant.identity', value.identity),
    name: field(operation, parameter, 'name', value.name, text),
    canPublish: field(operation, parameter, 'canPublish', value.canPublish, boolean),
    canSubscribe: field(operation, parameter, 'canSubscribe', value.canSubscribe, boolean),
    canPublishData: field(operation, parameter, 'canPublishData', value.canPublishData, boolean),
    canPublishSources: sourcesOf(operation, 'participant.canPublishSources', value.canPublishSources),
    canUpdateOwnMetadata: field(operation, parameter, 'canUpdateOwnMetadata', value.canUpdateOwnMetadata, boolean),
    hidden: field(operation, parameter, 'hidden', value.hidden, boolean),
    metadata: field(operation, parameter, 'metadata', value.metadata, text),
    attributes: attributesOf(operation, 'participant.attributes', value.attributes),
    ttlSecs: field(operation, parameter, 'ttlSecs', value.ttlSecs, number),
    roomSettings: readSettings(operation, 'participant.roomSettings', value.roomSettings),
  };
}

function readCallOptions(operation, value) {
  return value === undefined ? NO_OPTIONS : readFields(operation, 'options', value, CALL, callOptionsOf);
}

const NO_OPTIONS = { signal: undefined, timeoutMs: undefined };

function callOptionsOf(operation, parameter, value) {
  return {
    signal: field(operation, parameter, 'signal', value.signal, signal),
    timeoutMs: field(operation, parameter, 'timeoutMs', value.timeoutMs, budget),
  };
}

/** The known name within that edit distance of `key`, the nearest one. */
function nearest(key, known, most = 2) {
  let best;
  let least = most + 1;
  for (const name of known) {
    if (Math.abs(name.length - key.length) >= least) continue;
    const distance = editDistance(key, name);
    if (distance < least) [best, least] = [name, distance];
  }
  return best;
}

function editDistance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}

module.exports = { SOURCES, invalid, isRecord, nearest, readCallOptions, readParticipant, readSettings, readText };
