'use strict';

// Tokens that the room service accepts, and tokens that it rejects.

const { deviates } = require('../deviations.js');
const { denied, invalidToken, ok, text } = require('../support/responses.js');
const { base64url } = require('../support/token.js');

/** @typedef {import('../support/server.js').Request} Request */

const video = { roomList: true };
const noRooms = ok({ rooms: [] });
const notBearer = text(401, 'invalid authorization header. Must start with Bearer ');
const noToken = text(401, 'invalid authorization token');
const rejectedFor = (/** @type {string} */ reason) => deviates('rejected token', reason);

/** @param {string} title @param {Request['token']} token @param {Request['expected']} expected @param {Partial<Request>} [more] @returns {Request} */
const withToken = (title, token, expected, more) => ({
  title: `a token ${title}`,
  method: 'ListRooms',
  message: { names: ['$room'] },
  token: token && { video, ...token },
  expected,
  ...more,
});

/** @param {string} title @param {string} authorization @param {Request['expected']} expected @returns {Request} */
const withHeader = (title, authorization, expected) =>
  withToken(title, undefined, expected, { headers: { 'content-type': 'application/json', authorization } });

const headers = [
  withToken('that is missing', undefined, denied),
  withHeader('in an empty header', '', denied),
  withHeader('with another scheme', 'Basic x', notBearer),
  withHeader('with only the scheme', 'Bearer', notBearer),
  withHeader('that is empty', 'Bearer ', notBearer),
  withHeader('with the scheme in lower case', 'bearer x', notBearer),
  withHeader('after two spaces', 'Bearer  x', noToken),
  withHeader('that is not a JWT', 'Bearer x', noToken),
  withHeader('of three parts that are not JSON', 'Bearer a.b.c', noToken),
  withHeader('that is not ASCII', 'Bearer \xff', noToken),
];

const good = [
  withToken('that is valid', {}, noRooms),
  withToken('without typ', { header: { alg: 'HS256' } }, noRooms),
  withToken('with another typ', { header: { alg: 'HS256', typ: 'at+jwt' } }, noRooms),
  withToken(
    'with a crit header',
    { header: { alg: 'HS256', crit: ['x'], x: 1 } },
    deviates('token with a crit header', 'rejected'),
  ),
  withToken('for another audience', { claims: { aud: 'another' } }, noRooms),
  withToken('with iat in an hour', { claims: { iat: Math.floor(Date.now() / 1000) + 3600 } }, noRooms),
  withToken('with unknown claims', { claims: { unknown: { a: [1] } } }, noRooms),
  withToken('without a subject', { claims: { sub: undefined } }, noRooms),
  withToken('of 900 KB', { claims: { metadata: 'm'.repeat(675_000) } }, noRooms),
  withToken('that expired half a minute ago', { expiresIn: -30 }, noRooms),
  withToken('with nbf in half a minute', { notBeforeIn: 30 }, noRooms),
  withToken('with a fraction in exp', { claims: { exp: Math.floor(Date.now() / 1000) + 600.5 } }, noRooms),
  withToken('with exp in 30,000 years', { claims: { exp: 1e12 } }, noRooms),
];

const bad = [
  withToken('of an unknown API key', { key: 'APInone' }, invalidToken.unknownKey),
  withToken('without iss', { claims: { iss: undefined } }, invalidToken.unknownKey),
  withToken('with a number as iss', { claims: { iss: 5 } }, noToken),
  withToken('signed with another secret', { secret: 'another secret' }, invalidToken.signature),
  withToken('without a signature', { spoil: (token) => token.replace(/[^.]*$/, '') }, invalidToken.signature),
  withToken('of two parts', { spoil: (token) => token.replace(/\.[^.]*$/, '') }, noToken),
  withToken('of four parts', { spoil: (token) => `${token}.x` }, noToken),
  withToken('with base64 padding', { spoil: (token) => `${token}=` }, rejectedFor('padding')),
  withToken('with changed claims', { spoil: changed }, invalidToken.signature),
  withToken('without alg', { header: { typ: 'JWT' } }, noToken),
  withToken('with alg in lower case', { header: { alg: 'hs256' } }, noToken),
  withToken('with alg none', { header: { alg: 'none' } }, rejectedFor('algorithm')),
  withToken('with alg HS384', { header: { alg: 'HS384' } }, rejectedFor('algorithm')),
  withToken('with alg HS512', { header: { alg: 'HS512' } }, rejectedFor('algorithm')),
  withToken('with alg RS256 with the secret as its key', { header: { alg: 'RS256' } }, rejectedFor('algorithm')),
  withToken('that expired an hour ago', { expiresIn: -3600 }, invalidToken.expired),
  withToken('that expired two minutes ago', { expiresIn: -120 }, invalidToken.expired),
  withToken('with exp 0', { claims: { exp: 0 } }, invalidToken.expired),
  withToken('with nbf in two minutes', { notBeforeIn: 120 }, invalidToken.notYetValid),
  withToken('with text as nbf', { claims: { nbf: 'soon' } }, rejectedFor('nbf')),
  withToken('without exp', { claims: { exp: undefined } }, invalidToken.noExpiry),
  withToken('with exp null', { claims: { exp: null } }, invalidToken.noExpiry),
  withToken('with text as exp', { claims: { exp: '99999999999' } }, deviates('token with exp as a string', 'rejected')),
];

/** The token with another subject and the old signature. @param {string} token */
function changed(token) {
  const [header, payload, signature] = token.split('.');
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: 'eve' };
  return [header, base64url(JSON.stringify(claims)), signature].join('.');
}

const grants = [
  withToken('without grants', { video: undefined }, denied),
  withToken('with empty grants', { video: {} }, denied),
  withToken('with grants that are null', { claims: { video: null } }, denied),
  withToken('with a grant that is false', { video: { roomList: false } }, denied),
  withToken('with a grant in another spelling', { video: { room_list: true } }, denied),
  withToken(
    'with a grant in capitals',
    { video: { ROOMLIST: true } },
    deviates('ambiguous token', 'grant in capitals'),
  ),
  withToken('with text as grants', { claims: { video: 'roomList' } }, rejectedFor('claims')),
  withToken('with text as a grant', { claims: { video: { roomList: 'true' } } }, rejectedFor('claims')),
  withToken('with a number as a grant', { claims: { video: { roomList: 1 } } }, rejectedFor('claims')),
  withToken('with a number as metadata', { claims: { metadata: 5 } }, rejectedFor('claims')),
];

const ambiguous = (/** @type {string} */ claim) => deviates('ambiguous token', claim);
/** Puts a claim before the others, in the JSON text: an object can't have a name twice. @param {string} claim */
const prepend = (claim) => ({ rewrite: (/** @type {string} */ claims) => claims.replace('{', `{${claim},`) });

const twice = [
  withToken('with two iss', prepend('"iss":"another"'), ambiguous('iss')),
  withToken('with two exp', prepend('"exp":1'), ambiguous('exp')),
  withToken('with two video grants', prepend('"video":{}'), ambiguous('video')),
];

const inQuery = { tokenIn: /** @type {const} */ ('query') };
const places = [
  withToken('in the URL', {}, noRooms, inQuery),
  withToken('in the URL, of an unknown API key', { key: 'APInone' }, invalidToken.unknownKey, inQuery),
  withToken('in the URL that is not a JWT', undefined, noToken, { path: '/twirp/livekit.RoomService/ListRooms?access_token=x' }),
  withToken('in the URL that is empty', undefined, denied, { path: '/twirp/livekit.RoomService/ListRooms?access_token=' }),
  withToken('in the URL under a misspelt name', undefined, denied, { path: '/twirp/livekit.RoomService/ListRooms?Access_Token=x' }),
  withToken('in the header, with an invalid one in the URL', {}, noRooms, { path: '/twirp/livekit.RoomService/ListRooms?access_token=x' }),
  withToken('in the header that is not a JWT, with a valid one in the URL', {}, noToken, {
    ...inQuery,
    headers: { 'content-type': 'application/json', authorization: 'Bearer x' },
  }),
  withToken('that is not a JWT, for an unknown method', undefined, noToken, {
    method: undefined,
    message: undefined,
    path: '/twirp/livekit.RoomService/None',
    headers: { authorization: 'Bearer x' },
  }),
];

module.exports = [...headers, ...good, ...bad, ...grants, ...twice, ...places];
