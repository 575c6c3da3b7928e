'use strict';

// What a client asks before it connects, and when it could not.

const { gzipSync } = require('node:zlib');
const { deviates } = require('../deviations.js');
const { ROOM_BYTES } = require('../support/server.js');
const { invalidToken, text } = require('../support/answers.js');

/** @typedef {import('../support/server.js').Request} Request */

const V0 = '/rtc/validate';
const V1 = '/rtc/v1/validate';
const join = { roomJoin: true, room: '$room' };
const success = text(200, 'success', { 'access-control-allow-origin': '*', 'access-control-expose-headers': undefined, vary: 'Origin' });
const noAccess = text(401, 'no permissions to access the room', { 'access-control-allow-origin': '*' });
const denied = text(401, 'permissions denied');
const refused = (/** @type {string} */ why) => deviates('a token that is refused', why);

/** @param {number} number @param {Buffer} bytes A field of at most 2 MiB. */
const field = (number, bytes) =>
  Buffer.concat([Buffer.from([number * 8 + 2, (bytes.length & 127) | 128, ((bytes.length >> 7) & 127) | 128, bytes.length >> 14]), bytes]);
/** @param {Buffer} bytes With padding, as LiveKit's clients write it. */
const base64 = (bytes) => bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
/** A wrapped join request as a parameter. @param {Buffer} request @param {number} [compression] */
const wrapped = (request, compression = 0) => parameter(base64(Buffer.concat([Buffer.from([0x08, compression]), field(2, request)])));
/** @param {string} value */
const parameter = (value) => `join_request=${encodeURIComponent(value)}`;

/** With connection settings; what is in them does not matter here. */
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
const ask = (title, path, query, token, expected, more) => ({
  title: `${path} ${title}`,
  verb: 'GET',
  path: query ? `${path}?${query}` : path,
  token,
  expected,
  ...more,
});

/**
 * Of both paths alike.
 * @param {string} title
 * @param {Request['token']} token
 * @param {Request['expected']} expected
 * @param {Partial<Request>} [more]
 */
const both = (title, token, expected, more) => [ask(title, V0, '', token, expected, more), ask(title, V1, plain, token, expected, more)];

const long = (/** @type {number} */ bytes) => 'n'.repeat(bytes);
const longRoom = (/** @type {number} */ bytes) => `$room${long(bytes - ROOM_BYTES)}`;

/** @param {string} what */
const refusedLater = (what) => deviates('a join that livekit-server refuses later', `is refused, for its ${what}`);
/** @param {string} feature */
const unsupported = (feature) => deviates('a room with what the engine does not have', `is not joined, with ${feature}`);

const tokens = [
  ...both('lets in', { video: join }, success, { room: {} }),
  ...both('lets into a room that is not there yet', { video: join }, success),
  ...both('takes a token in the address', { video: join }, success, { tokenIn: 'query' }),
  ...both('lets in whose subject is in jti', { video: join, claims: { sub: undefined, jti: 'ann' } }, success),
  ...both('lets in with a room configuration', { video: join, claims: { roomConfig: { emptyTimeout: 5, metadata: 'm' } } }, success),
  ...both('lets into a live room with a preset', { video: join, claims: { roomPreset: 'none' } }, success, { room: {} }),
  ...both('with an unknown preset', { video: join, claims: { roomPreset: 'none' } }, refusedLater('preset')),
  ...both('with more metadata than 512 KiB', { video: join, claims: { metadata: long(512 * 1024 + 1) } }, refusedLater('metadata')),
  ...both('with more attributes than 64 KiB', { video: join, claims: { attributes: { a: long(64 * 1024) } } }, refusedLater('attributes')),
  ...both('with agents', { video: join, claims: { roomConfig: { agents: [{ agentName: 'none' }] } } }, unsupported('agents')),
  ...both('with a playout delay', { video: join, claims: { roomConfig: { minPlayoutDelay: 100 } } }, unsupported('a playout delay')),
  ...both('lets in who may not publish', { video: { ...join, canPublish: false } }, success),
  ...both('lets in who may publish what nobody knows', { video: { ...join, canPublishSources: ['none'] } }, success),
  ...both('lets in with a name of 256 bytes', { video: join, claims: { name: long(256) } }, success),
  ...both('with a name of 257', { video: join, claims: { name: long(257) } }, deviates('a long name in a token', 'is refused')),
  ...both('takes an identity of 256 bytes', { video: join, claims: { sub: long(256) } }, success),
  ...both(
    'refuses one of 257',
    { video: join, claims: { sub: long(257) } },
    text(400, 'participant identity length exceeds limits: max length 256'),
  ),
  ...both('takes a room of 256 bytes', { video: { ...join, room: longRoom(256) } }, success),
  ...both(
    'refuses a room of 257',
    { video: { ...join, room: longRoom(257) } },
    text(400, 'room name length exceeds limits: max length 256'),
  ),
  ...both('wants an identity', { video: join, claims: { sub: undefined } }, text(400, 'identity cannot be empty')),
  ...both('wants an identity before a room', { video: { roomJoin: true }, claims: { sub: '' } }, text(400, 'identity cannot be empty')),
  ...both('wants a room', { video: { roomJoin: true } }, text(400, 'no room name')),
  ...both('wants a token', undefined, noAccess),
  ...both('wants grants', {}, noAccess),
  ...both('wants the grant to join', { video: { ...join, roomJoin: undefined, roomAdmin: true, roomCreate: true } }, denied),
  ...both('wants a grant to join that is true', { video: { ...join, roomJoin: false } }, denied),
  ...both('refuses another scheme', undefined, text(401, 'invalid authorization header. Must start with Bearer '), {
    headers: { authorization: 'Basic x' },
  }),
  ...both('refuses what is no token', undefined, text(401, 'invalid authorization token', { 'access-control-allow-origin': '*' }), {
    headers: { authorization: 'Bearer x' },
  }),
  ...both('refuses an unknown key', { video: join, key: 'APInone' }, invalidToken.unknownKey),
  ...both('refuses another secret', { video: join, secret: 'another secret' }, invalidToken.signature),
  ...both('refuses an expired token', { video: join, expiresIn: -120 }, invalidToken.expired),
  ...both('refuses a token that is not valid yet', { video: join, notBeforeIn: 120 }, invalidToken.notYetValid),
  ...both('refuses no signature at all', { video: join, header: { alg: 'none' } }, refused('for its algorithm')),
  ...both('refuses a room configuration that is none', { video: join, claims: { roomConfig: 5 } }, refused('for its claims')),
  ...both('refuses a token without an end', { video: join, claims: { exp: undefined } }, invalidToken.noExpiry),
  ...both('lets in with a token from before DeleteRoom', { video: join, notBeforeIn: -30 }, success, { room: {}, deleted: true }),
  ...both('lets in after DeleteRoom with a token without nbf', { video: join }, success, { room: {}, deleted: true }),
  ...both('lets in after DeleteRoom with nbf 0', { video: join, claims: { nbf: 0 } }, success, { room: {}, deleted: true }),
];

const verbs = ['POST', 'PUT', 'DELETE', 'OPTIONS']
  .flatMap((verb) => both('answers as to a GET', { video: join }, success, { verb }))
  .map(titledByVerb);

/** @param {Request} request */
function titledByVerb(request) {
  return { ...request, title: `${request.verb} ${request.title}` };
}

const others = [
  ...both('answers a HEAD', { video: join }, text(200, '', { 'content-length': '7' }), { verb: 'HEAD' }),
  ask('takes no token in a form', V0, '', { video: join }, noAccess, { verb: 'POST', tokenIn: 'form' }),
  ...both(
    'lets browsers of all origins ask',
    { video: join },
    text(200, 'success', { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' }),
    {
      headers: { origin: 'https://app.example' },
    },
  ),
];

const described = { video: { ...join, canUpdateOwnMetadata: true } };
const unreadable = text(400, 'cannot base64 decode wrapped join request');

/** Of both paths: what the request says, and what comes of it. @type {[string, string, Request['token'], Request['expected']][]} */
const JOIN_REQUESTS = [
  ['takes an empty join request', wrapped(Buffer.alloc(0)), { video: join }, success],
  ['takes a compressed join request', wrapped(gzipSync(JOIN_REQUEST), 1), { video: join }, success],
  ['looks into no join request of an unknown compression', wrapped(Buffer.from('nothing'), 9), { video: join }, success],
  ['refuses a join request that is no base64', parameter('!!!'), { video: join }, unreadable],
  ['refuses a join request in the other base64', parameter('+/+/'), { video: join }, unreadable],
  ['refuses a join request without padding', parameter('YWJjZA'), { video: join }, unreadable],
  [
    'refuses a wrapping that is cut off',
    parameter(base64(Buffer.from([0x0a, 0x7f, 1]))),
    { video: join },
    text(400, 'cannot unmarshal wrapped join request'),
  ],
  [
    'refuses a join request that is cut off',
    wrapped(Buffer.from([0x0a, 0x7f])),
    { video: join },
    text(400, 'cannot unmarshal join request'),
  ],
  [
    'refuses what was not compressed',
    wrapped(Buffer.from('nothing'), 1),
    { video: join },
    text(400, 'cannot read decompressed join request'),
  ],
  ['refuses what is too much unpacked', wrapped(gzipSync(Buffer.alloc(2 ** 21)), 1), { video: join }, text(400, 'join request too large')],
  ['looks at the join request before it looks at the grant', parameter('!!!'), { video: { room: '$room' } }, unreadable],
  ['looks at the grants before it looks at the join request', parameter('!!!'), {}, noAccess],
  ['refuses metadata of their own', wrapped(METADATA), { video: join }, noAccess],
  ['takes metadata of their own from whom it may', wrapped(METADATA), described, success],
  ['refuses attributes of their own', wrapped(ATTRIBUTES), { video: join }, noAccess],
  ['takes attributes of their own from whom it may', wrapped(ATTRIBUTES), described, success],
];

const attributes = `attributes=${encodeURIComponent(base64(Buffer.from('{"a":"bcd"}')))}`;

const parameters = [
  ...JOIN_REQUESTS.flatMap(([title, query, token, expected]) => [V0, V1].map((path) => ask(title, path, query, token, expected))),
  ask('wants a join request', V1, '', { video: join }, text(400, 'join_request is required')),
  ask('wants a join request that is not empty', V1, 'join_request=', { video: join }, text(400, 'join_request is required')),
  ask('wants a join request before the grant', V1, '', { video: { room: '$room' } }, text(400, 'join_request is required')),
  ask('wants a token before a join request', V1, '', undefined, noAccess),
  ask('looks at no room in the address', V0, 'room=$room', { video: { roomJoin: true } }, text(400, 'no room name')),
  ask('refuses attributes in the address', V0, attributes, { video: join }, noAccess),
  ask('takes attributes in the address from whom it may', V0, attributes, described, success),
  ask('refuses attributes in the address that are none', V0, 'attributes=!!!', described, text(400, 'cannot decode attributes')),
  ask('refuses to publish for whom may not', V0, 'publish=x', { video: { ...join, canPublish: false } }, noAccess),
  ask('lets whom may publish', V0, 'publish=x', { video: join }, success),
  ask(
    'looks at nothing else beside a join request',
    V0,
    `publish=x&attributes=!!!&${plain}`,
    { video: { ...join, canPublish: false } },
    success,
  ),
  ask(
    'looks at nothing else beside a join request',
    V1,
    `publish=x&attributes=!!!&${plain}`,
    { video: { ...join, canPublish: false } },
    success,
  ),
];

const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

/** Those that connect are refused in the same way. @type {[string, string, string, Request['token'], Request['expected']][]} */
const CONNECTIONS = [
  ['wants a token', '/rtc', '', undefined, noAccess],
  ['wants a token', '/rtc/v1', plain, undefined, noAccess],
  ['wants the grant to join', '/rtc', '', { video: { room: '$room' } }, denied],
  ['wants the grant to join', '/rtc/v1', plain, { video: { room: '$room' } }, denied],
  ['wants an identity', '/rtc', '', { video: join, claims: { sub: '' } }, text(400, 'identity cannot be empty')],
  ['wants a join request', '/rtc/v1', '', { video: join }, text(400, 'join_request is required')],
  ['refuses an expired token', '/rtc', '', { video: join, expiresIn: -120 }, invalidToken.expired],
].map(([title, path, query, token, expected]) => /** @type {any} */ ([title, path, query, token, withoutHeaders(expected)]));

/** A connection is not bound to an origin: there are no headers for it. @param {any} expected */
function withoutHeaders(expected) {
  return 'deviation' in expected ? expected : { ...expected, headers: { 'access-control-allow-origin': undefined } };
}

const connections = CONNECTIONS.map(([title, path, query, token, expected]) =>
  ask(`of a WebSocket ${title}`, path, query, token, expected, { headers: UPGRADE, tokenIn: 'query' }),
);

module.exports = [...tokens, ...verbs, ...others, ...parameters, ...connections];
