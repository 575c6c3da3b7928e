'use strict';

// Which tokens are taken.

const { deviates } = require('../deviations.js');
const { denied, gives, invalidToken, text } = require('../support/answers.js');
const { base64url } = require('../support/token.js');

/** @typedef {import('../support/server.js').Request} Request */

const video = { roomList: true };
const none = gives({ rooms: [] });
const notBearer = text(401, 'invalid authorization header. Must start with Bearer ');
const noToken = text(401, 'invalid authorization token');
const refused = (/** @type {string} */ why) => deviates('a token that is refused', why);

/** @param {string} title @param {Request['token']} token @param {Request['expected']} expected @param {Partial<Request>} [more] @returns {Request} */
const listed = (title, token, expected, more) => ({
  title: `a token ${title}`,
  method: 'ListRooms',
  message: { names: ['$room'] },
  token: token && { video, ...token },
  expected,
  ...more,
});

/** @param {string} title @param {string} authorization @param {Request['expected']} expected @returns {Request} */
const headed = (title, authorization, expected) =>
  listed(title, undefined, expected, { headers: { 'content-type': 'application/json', authorization } });

const headers = [
  listed('in no header', undefined, denied),
  headed('in an empty header', '', denied),
  headed('of another scheme', 'Basic x', notBearer),
  headed('that is only announced', 'Bearer', notBearer),
  headed('that is empty', 'Bearer ', notBearer),
  headed('of a scheme in small letters', 'bearer x', notBearer),
  headed('after two blanks', 'Bearer  x', noToken),
  headed('that is none', 'Bearer x', noToken),
  headed('of three parts that are nothing', 'Bearer a.b.c', noToken),
  headed('that is not ASCII', 'Bearer \xff', noToken),
];

const good = [
  listed('that is good', {}, none),
  listed('without a type', { header: { alg: 'HS256' } }, none),
  listed('of another type', { header: { alg: 'HS256', typ: 'at+jwt' } }, none),
  listed(
    'with a header that must be understood',
    { header: { alg: 'HS256', crit: ['x'], x: 1 } },
    deviates('a token whose header must be understood', 'is refused'),
  ),
  listed('for another audience', { claims: { aud: 'another' } }, none),
  listed('minted in an hour', { claims: { iat: Math.floor(Date.now() / 1000) + 3600 } }, none),
  listed('with claims that nobody knows', { claims: { unknown: { a: [1] } } }, none),
  listed('without a subject', { claims: { sub: undefined } }, none),
  listed('of 900 KB', { claims: { metadata: 'm'.repeat(675_000) } }, none),
  listed('that expired half a minute ago', { expiresIn: -30 }, none),
  listed('that begins in half a minute', { notBeforeIn: 30 }, none),
  listed('with times in fractions', { claims: { exp: Math.floor(Date.now() / 1000) + 600.5 } }, none),
  listed('that lasts for ever', { claims: { exp: 1e12 } }, none),
];

const bad = [
  listed('of an unknown key', { key: 'APInone' }, invalidToken.unknownKey),
  listed('without a key', { claims: { iss: undefined } }, invalidToken.unknownKey),
  listed('of a key that is a number', { claims: { iss: 5 } }, noToken),
  listed('of another secret', { secret: 'another secret' }, invalidToken.signature),
  listed('without a signature', { spoil: (token) => token.replace(/[^.]*$/, '') }, invalidToken.signature),
  listed('without the place for a signature', { spoil: (token) => token.replace(/\.[^.]*$/, '') }, noToken),
  listed('with four parts', { spoil: (token) => `${token}.x` }, noToken),
  listed('with padding', { spoil: (token) => `${token}=` }, refused('for its padding')),
  listed('that was changed', { spoil: changed }, invalidToken.signature),
  listed('without an algorithm', { header: { typ: 'JWT' } }, noToken),
  listed('of an algorithm in small letters', { header: { alg: 'hs256' } }, noToken),
  listed('of the algorithm none', { header: { alg: 'none' } }, refused('for its algorithm')),
  listed('of the algorithm HS384', { header: { alg: 'HS384' } }, refused('for its algorithm')),
  listed('of the algorithm HS512', { header: { alg: 'HS512' } }, refused('for its algorithm')),
  listed('of the algorithm RS256 with the secret as its key', { header: { alg: 'RS256' } }, refused('for its algorithm')),
  listed('that expired an hour ago', { expiresIn: -3600 }, invalidToken.expired),
  listed('that expired two minutes ago', { expiresIn: -120 }, invalidToken.expired),
  listed('that expired when time began', { claims: { exp: 0 } }, invalidToken.expired),
  listed('that begins in two minutes', { notBeforeIn: 120 }, invalidToken.notYetValid),
  listed('that begins when nobody knows', { claims: { nbf: 'soon' } }, refused('for a beginning that is none')),
  listed('without an end', { claims: { exp: undefined } }, invalidToken.noExpiry),
  listed('whose end is null', { claims: { exp: null } }, invalidToken.noExpiry),
  listed('whose end is text', { claims: { exp: '99999999999' } }, deviates('a token whose end is text', 'is refused')),
];

/** The same token with the claims of another, which the signature does not fit. @param {string} token */
function changed(token) {
  const [header, payload, signature] = token.split('.');
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: 'eve' };
  return [header, base64url(JSON.stringify(claims)), signature].join('.');
}

const grants = [
  listed('without grants', { video: undefined }, denied),
  listed('with empty grants', { video: {} }, denied),
  listed('with grants that are null', { claims: { video: null } }, denied),
  listed('with a grant that is false', { video: { roomList: false } }, denied),
  listed('with a grant in another spelling', { video: { room_list: true } }, denied),
  listed(
    'with a grant in capitals',
    { video: { ROOMLIST: true } },
    deviates('a token that can be read in two ways', 'by the case of a grant'),
  ),
  listed('with grants that are text', { claims: { video: 'roomList' } }, refused('for its claims')),
  listed('with a grant that is text', { claims: { video: { roomList: 'true' } } }, refused('for its claims')),
  listed('with a grant that is a number', { claims: { video: { roomList: 1 } } }, refused('for its claims')),
  listed('with metadata that is a number', { claims: { metadata: 5 } }, refused('for its claims')),
];

const twofold = (/** @type {string} */ which) => deviates('a token that can be read in two ways', which);
/** As a text: an object holds no name twice. @param {string} claim */
const before = (claim) => ({ rewrite: (/** @type {string} */ claims) => claims.replace('{', `{${claim},`) });

const twice = [
  listed('with two issuers', before('"iss":"another"'), twofold('by its issuers')),
  listed('with two ends', before('"exp":1'), twofold('by its ends')),
  listed('with two videos', before('"video":{}'), twofold('by its grants')),
];

const inQuery = { tokenIn: /** @type {const} */ ('query') };
const places = [
  listed('in the address', {}, none, inQuery),
  listed('in the address, of an unknown key', { key: 'APInone' }, invalidToken.unknownKey, inQuery),
  listed('in the address that is none', undefined, noToken, { path: '/twirp/livekit.RoomService/ListRooms?access_token=x' }),
  listed('in the address that is empty', undefined, denied, { path: '/twirp/livekit.RoomService/ListRooms?access_token=' }),
  listed('in the address under another name', undefined, denied, { path: '/twirp/livekit.RoomService/ListRooms?Access_Token=x' }),
  listed('in the header, before one in the address', {}, none, { path: '/twirp/livekit.RoomService/ListRooms?access_token=x' }),
  listed('in the header that is none, before a good one in the address', {}, noToken, {
    ...inQuery,
    headers: { 'content-type': 'application/json', authorization: 'Bearer x' },
  }),
  listed('that is none, of an unknown method', undefined, noToken, {
    method: undefined,
    message: undefined,
    path: '/twirp/livekit.RoomService/None',
    headers: { authorization: 'Bearer x' },
  }),
];

module.exports = [...headers, ...good, ...bad, ...grants, ...twice, ...places];
