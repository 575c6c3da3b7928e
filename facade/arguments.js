'use strict';

// The shapes of JavaScript values. What a value must say (lengths, ranges) is checked in Rust.

const { MediaError } = require('./errors.js');

const SOURCES = ['camera', 'microphone', 'screen_share', 'screen_share_audio'];

const text = (value) =>
  typeof value !== 'string' ? 'must be a string' : value.isWellFormed() ? '' : 'holds half a surrogate pair';
const number = (value) => (typeof value === 'number' ? '' : 'must be a number');
const boolean = (value) => (typeof value === 'boolean' ? '' : 'must be true or false');

const sources = (value) => {
  if (!Array.isArray(value)) return 'must be an array';
  // LiveKit takes an empty list for "all sources": the opposite of what it looks like.
  if (value.length === 0) return 'must name at least one source; to allow none, set canPublish to false';
  return Array.from(value).every((source) => SOURCES.includes(source)) ? '' : `may hold only ${SOURCES.join(', ')}`;
};

const texts = (value) => {
  if (!isRecord(value)) return 'must be an object of strings';
  const wrong = Object.entries(value).find(([key, entry]) => text(key) || text(entry));
  return wrong === undefined ? '' : 'must hold only well-formed strings';
};

const signal = (value) =>
  typeof value === 'object' &&
  value !== null &&
  typeof value.aborted === 'boolean' &&
  typeof value.addEventListener === 'function' &&
  typeof value.removeEventListener === 'function'
    ? ''
    : 'must be an AbortSignal';

const SETTINGS = {
  maxParticipants: number,
  emptyTimeoutSecs: number,
  departureTimeoutSecs: number,
  metadata: text,
};

const PARTICIPANT = {
  identity: text,
  name: text,
  canPublish: boolean,
  canSubscribe: boolean,
  canPublishData: boolean,
  canPublishSources: sources,
  canUpdateOwnMetadata: boolean,
  hidden: boolean,
  metadata: text,
  attributes: texts,
  ttlSecs: number,
  roomSettings: (value) => (isRecord(value) ? '' : 'must be an object'),
};

const MOST_TIMEOUT_MS = 2_147_483_647;
const CALL = {
  signal,
  timeoutMs: (value) =>
    Number.isInteger(value) && value >= 1 && value <= MOST_TIMEOUT_MS ? '' : `must be a whole number from 1 to ${MOST_TIMEOUT_MS}`,
};

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

/** The known fields of an object argument, each read once and of its type; a near miss of a known name is refused. */
function readFields(operation, parameter, value, fields) {
  if (!isRecord(value)) throw invalid(operation, parameter, 'must be an object');
  const found = {};
  try {
    for (const key in fields) {
      const field = value[key];
      if (field === undefined) continue;
      const problem = fields[key](field);
      if (problem) throw invalid(operation, `${parameter}.${key}`, problem);
      found[key] = field;
    }
    for (const key in value) {
      if (Object.hasOwn(fields, key)) continue;
      const near = nearest(key, Object.keys(fields));
      if (near !== undefined || key.startsWith('can')) {
        throw invalid(operation, `${parameter}.${key.slice(0, 40)}`, near ? `is not known: did you mean ${near}?` : 'is not a known permission');
      }
    }
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw invalid(operation, parameter, 'could not be read: a getter threw', error);
  }
  return found;
}

function readSettings(operation, parameter, value) {
  return value === undefined ? undefined : readFields(operation, parameter, value, SETTINGS);
}

function readParticipant(operation, value) {
  const participant = readFields(operation, 'participant', value, PARTICIPANT);
  if (participant.identity === undefined) throw invalid(operation, 'participant.identity', 'must be a string');
  participant.roomSettings = readSettings(operation, 'participant.roomSettings', participant.roomSettings);
  return participant;
}

function readCallOptions(operation, value) {
  return value === undefined ? {} : readFields(operation, 'options', value, CALL);
}

/** The known name within edit distance 2 of `key`, nearest first. */
function nearest(key, known) {
  let best;
  let least = 3;
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

module.exports = { SOURCES, isRecord, nearest, readCallOptions, readParticipant, readSettings, readText };
