'use strict';

// GET /rtc/validate and /rtc/v1/validate: clients send them after a failed connection, for the reason. Both paths share their checks of the
// token, so those run on /rtc/v1 alone; sessions/rejections.test.js compares both paths, and the upgrade, for the common rejections.

const { gzipSync } = require('node:zlib');
const { deviates } = require('../deviations.js');
const { ROOM_BYTES } = require('../support/server.js');
const { invalidToken, text } = require('../support/responses.js');

/** @typedef {import('../support/server.js').Request} Request */

const V0 = '/rtc/validate';
const V1 = '/rtc/v1/validate';
const join = { roomJoin: true, room: '$room' };
const success = text(200, 'success', { 'access-control-allow-origin': '*', 'access-control-expose-headers': undefined, vary: 'Origin' });
const noAccess = text(401, 'no permissions to access the room', { 'access-control-allow-origin': '*' });
const rejectedFor = (/** @type {string} */ reason) => deviates('rejected token', reason);

/** A length-delimited field of at most 2 MiB. @param {number} number @param {Buffer} bytes */
const field = (number, bytes) =>
  Buffer.concat([Buffer.from([number * 8 + 2, (bytes.length & 127) | 128, ((bytes.length >> 7) & 127) | 128, bytes.length >> 14]), bytes]);
/** base64url with padding, as LiveKit's clients write it. @param {Buffer} bytes */
const base64 = (bytes) => bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
/** A wrapped join request as a parameter. @param {Buffer} request @param {number} [compression] */
const wrapped = (request, compression = 0) => parameter(base64(Buffer.concat([Buffer.from([0x08, compression]), field(2, request)])));
/** @param {string} value */
const parameter = (value) => `join_request=${encodeURIComponent(value)}`;

/** A join request with connection settings. */
const JOIN_REQUEST = Buffer.from([0x12, 2, 0x08, 1]);
const plain = wrapped(JOIN_REQUEST);
const METADATA = field(3, Buffer.from('about me'));
const ATTRIBUTES = field(4, Buffer.concat([field(1, Buffer.from('a')), field(2, Buffer.from('b'))]));

/**
 * @param {string} title
 * @param {string} path
 * @param {string} query
 * @param {Request['token']} token
 * @param {Request['expected']} expected
 * @param {Partial<Request>} [more]
 * @returns {Request}
 */
const get = (title, path, query, token, expected, more) => ({
  title: `${path} ${title}`,
  verb: 'GET',
  path: query ? `${path}?${query}` : path,
  token,
  expected,
  ...more,
});

/**
 * @param {string} title
 * @param {Request['token']} token
 * @param {Request['expected']} expected
 * @param {Partial<Request>} [more]
 */
const v1 = (title, token, expected, more) => get(title, V1, plain, token, expected, more);
/** Both paths, which parse their parameters differently. @type {(...args: Parameters<typeof v1>) => Request[]} */
const both = (title, token, expected, more) => [get(title, V0, '', token, expected, more), v1(title, token, expected, more)];

const long = (/** @type {number} */ bytes) => 'n'.repeat(bytes);
const longRoom = (/** @type {number} */ bytes) => `$room${long(bytes - ROOM_BYTES)}`;

/** @param {string} reason */
const rejectedLater = (reason) => deviates('join that livekit-server rejects later', reason);
/** @param {string} feature */
const unsupported = (feature) => deviates('room with an unsupported feature', `joined with ${feature}`);

const tokens = [
  ...both('accepts a token for an existing room', { video: join }, success, { room: {} }),
  v1('accepts a token for a new room', { video: join }, success),
  ...both('accepts a token in the URL', { video: join }, success, { tokenIn: 'query' }),
  v1('accepts an identity in jti', { video: join, claims: { sub: undefined, jti: 'ann' } }, success),
  v1('accepts a room configuration', { video: join, claims: { roomConfig: { emptyTimeout: 5, metadata: 'm' } } }, success),
  v1('ignores the preset for an existing room', { video: join, claims: { roomPreset: 'none' } }, success, { room: {} }),
  v1('with an unknown preset', { video: join, claims: { roomPreset: 'none' } }, rejectedLater('preset')),
  v1('with more than 512 KiB of metadata', { video: join, claims: { metadata: long(512 * 1024 + 1) } }, rejectedLater('metadata')),
  v1('with more than 64 KiB of attributes', { video: join, claims: { attributes: { a: long(64 * 1024) } } }, rejectedLater('attributes')),
  v1('with agents', { video: join, claims: { roomConfig: { agents: [{ agentName: 'none' }] } } }, unsupported('agents')),
  v1('with a playout delay', { video: join, claims: { roomConfig: { minPlayoutDelay: 100 } } }, unsupported('a playout delay')),
  v1('accepts canPublish: false', { video: { ...join, canPublish: false } }, success),
  v1('accepts unknown sources in canPublishSources', { video: { ...join, canPublishSources: ['none'] } }, success),
  v1('accepts a name of 256 bytes', { video: join, claims: { name: long(256) } }, success),
  v1('with a name of 257 bytes', { video: join, claims: { name: long(257) } }, deviates('long participant name in a token', 'rejected')),
  v1('accepts an identity of 256 bytes', { video: join, claims: { sub: long(256) } }, success),
  v1('accepts a room of 256 bytes', { video: { ...join, room: longRoom(256) } }, success),
  v1('checks the identity before the room', { video: { roomJoin: true }, claims: { sub: '' } }, text(400, 'identity cannot be empty')),
  v1('rejects a token without sub', { video: join, claims: { sub: undefined } }, text(400, 'identity cannot be empty')),
  v1('rejects another scheme', undefined, text(401, 'invalid authorization header. Must start with Bearer '), {
    headers: { authorization: 'Basic x' },
  }),
  v1('rejects a token that is not a JWT', undefined, text(401, 'invalid authorization token', { 'access-control-allow-origin': '*' }), {
    headers: { authorization: 'Bearer x' },
  }),
  v1('rejects a room configuration that is not an object', { video: join, claims: { roomConfig: 5 } }, rejectedFor('claims')),
  v1('rejects a token without exp', { video: join, claims: { exp: undefined } }, invalidToken.noExpiry),
  v1('accepts a token from before DeleteRoom', { video: join, notBeforeIn: -30 }, success, { room: {}, deleted: true }),
  v1('accepts a token without nbf after DeleteRoom', { video: join }, success, { room: {}, deleted: true }),
  v1('accepts a token with nbf 0 after DeleteRoom', { video: join, claims: { nbf: 0 } }, success, { room: {}, deleted: true }),
];

const verbs = ['POST', 'PUT', 'DELETE', 'OPTIONS'].flatMap((verb) => both(`responds to ${verb} as to GET`, { video: join }, success, { verb }));

const others = [
  ...both('responds to HEAD with the Content-Length of GET', { video: join }, text(200, '', { 'content-length': '7' }), { verb: 'HEAD' }),
  get('ignores a token in a form', V0, '', { video: join }, noAccess, { verb: 'POST', tokenIn: 'form' }),
  ...both(
    'allows browsers of every origin',
    { video: join },
    text(200, 'success', { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' }),
    { headers: { origin: 'https://app.example' } },
  ),
];

const mayUpdate = { video: { ...join, canUpdateOwnMetadata: true } };
const invalidBase64 = text(400, 'cannot base64 decode wrapped join request');

/** Cases that sessions/rejections.test.js doesn't cover. @type {[string, string, Request['token'], Request['expected']][]} */
const JOIN_REQUESTS = [
  ['accepts an empty join request', wrapped(Buffer.alloc(0)), { video: join }, success],
  ['accepts a compressed join request', wrapped(gzipSync(JOIN_REQUEST), 1), { video: join }, success],
  ['does not parse a join request with an unknown compression', wrapped(Buffer.from('nothing'), 9), { video: join }, success],
  ['rejects a join request in standard base64', parameter('+/+/'), { video: join }, invalidBase64],
  [
    'rejects a truncated wrapped join request',
    parameter(base64(Buffer.from([0x0a, 0x7f, 1]))),
    { video: join },
    text(400, 'cannot unmarshal wrapped join request'),
  ],
  [
    'rejects a join request that is not compressed as stated',
    wrapped(Buffer.from('nothing'), 1),
    { video: join },
    text(400, 'cannot read decompressed join request'),
  ],
  ['checks the join request before the grant roomJoin', parameter('!!!'), { video: { room: '$room' } }, invalidBase64],
  ['checks that there are grants before the join request', parameter('!!!'), {}, noAccess],
  ['rejects metadata without canUpdateOwnMetadata', wrapped(METADATA), { video: join }, noAccess],
  ['accepts metadata with canUpdateOwnMetadata', wrapped(METADATA), mayUpdate, success],
  ['rejects attributes without canUpdateOwnMetadata', wrapped(ATTRIBUTES), { video: join }, noAccess],
  ['accepts attributes with canUpdateOwnMetadata', wrapped(ATTRIBUTES), mayUpdate, success],
];

const attributes = `attributes=${encodeURIComponent(base64(Buffer.from('{"a":"bcd"}')))}`;
const ignored = `publish=x&attributes=!!!&${plain}`;
const noPublish = { video: { ...join, canPublish: false } };

const parameters = [
  ...JOIN_REQUESTS.map(([title, query, token, expected]) => get(title, V1, query, token, expected)),
  get('parses a join request', V0, parameter('!!!'), { video: join }, invalidBase64),
  get('requires a join request', V1, '', { video: join }, text(400, 'join_request is required')),
  get('requires a join request before the grant roomJoin', V1, '', { video: { room: '$room' } }, text(400, 'join_request is required')),
  get('requires a token before a join request', V1, '', undefined, noAccess),
  get('ignores a room in the URL', V0, 'room=$room', { video: { roomJoin: true } }, text(400, 'no room name')),
  get('rejects attributes in the URL without canUpdateOwnMetadata', V0, attributes, { video: join }, noAccess),
  get('accepts attributes in the URL with canUpdateOwnMetadata', V0, attributes, mayUpdate, success),
  get('rejects attributes in the URL that are not base64', V0, 'attributes=!!!', mayUpdate, text(400, 'cannot decode attributes')),
  get('rejects publish in the URL without canPublish', V0, 'publish=x', noPublish, noAccess),
  get('accepts publish in the URL with canPublish', V0, 'publish=x', { video: join }, success),
  get('ignores other parameters beside a join request', V0, ignored, noPublish, success),
  get('ignores other parameters beside a join request', V1, ignored, noPublish, success),
];

const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

const noCors = text(401, 'no permissions to access the room', { 'access-control-allow-origin': undefined });

/** Rejected upgrades have no CORS headers. */
const upgrades = [
  get('rejects an upgrade without a token', '/rtc', '', undefined, noCors, { headers: UPGRADE }),
  get('rejects an upgrade without a token', '/rtc/v1', plain, undefined, noCors, { headers: UPGRADE }),
];

module.exports = [...tokens, ...verbs, ...others, ...parameters, ...upgrades];
