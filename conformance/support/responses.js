'use strict';

// Expected responses of a server.

/**
 * A decoded response. A regular expression matches strings.
 * @typedef {object} Response
 * @property {number} status
 * @property {string | RegExp} [type] `Content-Type`; of a message: that of the request.
 * @property {any} [message] The message of a method that succeeded, as JSON.
 * @property {{ code: string, msg: string | RegExp, meta?: Record<string, string> }} [error] A Twirp error.
 * @property {string | RegExp} [text] Any other body.
 * @property {Record<string, string | RegExp | undefined>} [headers] Headers to compare; `undefined`: must be absent.
 * @property {number} [withinMs] Maximum time to the end of the response.
 */

const TEXT = 'text/plain; charset=utf-8';

/** @param {any} message @returns {Response} */
const ok = (message) => ({ status: 200, message });

/** @param {number} status @param {string | RegExp} body @param {Response['headers']} [headers] @returns {Response} */
const text = (status, body, headers) => ({ status, type: TEXT, text: body, headers });

/** No body and no content type. @param {number} status @param {Response['headers']} [headers] @returns {Response} */
const empty = (status, headers) => ({ status, type: undefined, text: '', headers });

/** @param {number} status @param {string} code @param {string | RegExp} msg @param {Record<string, string>} [meta] @returns {Response} */
const twirpError = (status, code, msg, meta) => ({ status, type: 'application/json', error: { code, msg, ...(meta && { meta }) } });

/** Responses to a rejected token, by reason. */
const invalidToken = {
  signature: text(401, 'invalid authorization token: token signature is invalid: signature is invalid'),
  expired: text(401, 'invalid authorization token: token has invalid claims: token is expired'),
  notYetValid: text(401, 'invalid authorization token: token has invalid claims: token is not valid yet'),
  noExpiry: text(401, 'invalid authorization token: token has invalid claims: token is missing required claim: exp claim is required'),
  unknownKey: text(401, 'invalid API key'),
};

/** The error for an argument past its limit. @param {string} what @param {string} limit */
const invalid = (what, limit) => twirpError(400, 'invalid_argument', `${what} ${limit}`, { argument: what });

/** @param {string} msg @param {string} route Verb and path. */
const badRoute = (msg, route) => twirpError(404, 'bad_route', msg, { twirp_invalid_route: route });

const CODECS = [
  'audio/PCMU',
  'audio/PCMA',
  'audio/opus',
  'audio/red',
  'video/VP8',
  'video/H264',
  'video/VP9',
  'video/AV1',
  'video/H265',
  'video/rtx',
];

/** A room without participants: all its fields, with the given ones in place of the defaults. @param {object} [fields] */
const room = (fields) => ({
  sid: /^RM_[0-9A-Za-z]{12}$/,
  name: '$room',
  empty_timeout: 300,
  departure_timeout: 20,
  max_participants: 0,
  creation_time: /^\d{10}$/,
  creation_time_ms: /^\d{13}$/,
  // Only the request for the deviation checks whether there is a password.
  turn_password: /^[0-9A-Za-z]*$/,
  enabled_codecs: CODECS.map((mime) => ({ mime, fmtp_line: '' })),
  metadata: '',
  num_participants: 0,
  num_publishers: 0,
  active_recording: false,
  version: null,
  ...fields,
});

const denied = twirpError(401, 'unauthenticated', 'permissions denied');
const malformedJson = twirpError(400, 'malformed', 'the json request could not be decoded');
const malformedProtobuf = twirpError(400, 'malformed', 'the protobuf request could not be decoded');
const noRoom = twirpError(404, 'not_found', 'requested room does not exist');
const noParticipant = twirpError(404, 'not_found', 'participant does not exist');

module.exports = {
  TEXT,
  badRoute,
  denied,
  empty,
  invalid,
  invalidToken,
  malformedJson,
  malformedProtobuf,
  noParticipant,
  noRoom,
  ok,
  room,
  text,
  twirpError,
};
