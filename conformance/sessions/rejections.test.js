'use strict';

// Joins that are rejected: the upgrade and the validation that clients send afterwards have the same response.

const { gzipSync } = require('node:zlib');
const { deviates, expectedOf, expectedInSession } = require('../deviations.js');
const { invalidToken, text } = require('../support/responses.js');
const { eventually } = require('../../test-support/eventually.js');
const { matcher } = require('../support/compare.js');
const { exchange } = require('../support/server.js');
const { useSession } = require('../support/use-session.js');
const { addressOf, base64url } = require('../support/signalling.js');

/**
 * @typedef {import('../support/signalling.js').SignalOptions} SignalOptions
 * @typedef {import('../support/signalling.js').Rejection} Rejection
 * @typedef {{ title: string, token: import('../support/token.js').Token | string | undefined, expected: any }} Case
 */

const session = useSession();
const { callApi, connectSignalling, newRoom, server, tokenOf, tryToConnectSignalling } = session;

const video = { roomJoin: true, room: 'room' };
const rejectedFor = (/** @type {string} */ reason) => deviates('rejected token', reason);
const noAccess = text(401, 'no permissions to access the room');
const noToken = text(401, 'invalid authorization token');
const denied = text(401, 'permissions denied');
const longName = 'n'.repeat(257);

/** @type {Case[]} */
const TOKENS = [
  { title: 'that is missing', token: undefined, expected: noAccess },
  { title: 'that is not a JWT', token: 'garbage', expected: noToken },
  { title: 'of three parts that are not JSON', token: 'a.b.c', expected: noToken },
  { title: 'that has expired', token: { video, expiresIn: -120 }, expected: invalidToken.expired },
  { title: 'that is not valid yet', token: { video, notBeforeIn: 120 }, expected: invalidToken.notYetValid },
  { title: 'signed with another secret', token: { video, secret: 'another secret' }, expected: invalidToken.signature },
  {
    title: 'without a signature',
    token: { video, spoil: (token) => token.replace(/[^.]*$/, '') },
    expected: invalidToken.signature,
  },
  { title: 'with alg none', token: { video, header: { alg: 'none' } }, expected: rejectedFor('algorithm') },
  { title: 'of an unknown API key', token: { video, key: 'APInone' }, expected: invalidToken.unknownKey },
  { title: 'without grants', token: {}, expected: noAccess },
  { title: 'without the grant roomJoin', token: { video: { room: 'room', roomAdmin: true } }, expected: denied },
  { title: 'with roomJoin: false', token: { video: { ...video, roomJoin: false } }, expected: denied },
  { title: 'without a room', token: { video: { roomJoin: true } }, expected: text(400, 'no room name') },
  { title: 'without an identity', token: { video, claims: { sub: '' } }, expected: text(400, 'identity cannot be empty') },
  {
    title: 'with an identity of 257 bytes',
    token: { video, claims: { sub: longName } },
    expected: text(400, 'participant identity length exceeds limits: max length 256'),
  },
  {
    title: 'with a room of 257 bytes',
    token: { video: { ...video, room: longName } },
    expected: text(400, 'room name length exceeds limits: max length 256'),
  },
];

/** A wrapped join request, encoded by hand. @param {Buffer} request @param {number} [compression] */
function wrapped(request, compression = 0) {
  const length = Buffer.from([(request.length & 127) | 128, ((request.length >> 7) & 127) | 128, request.length >> 14]);
  return base64url(Buffer.concat([Buffer.from([0x08, compression, 0x12]), length, request]));
}

/** @type {{ title: string, request: string, expected: any }[]} */
const JOIN_REQUESTS = [
  { title: 'that is empty', request: '', expected: text(400, 'join_request is required') },
  { title: 'that is not base64', request: '!!!', expected: text(400, 'cannot base64 decode wrapped join request') },
  { title: 'without base64 padding', request: 'CAE', expected: text(400, 'cannot base64 decode wrapped join request') },
  { title: 'that is not wrapped', request: base64url(Buffer.from('garbage')), expected: text(400, 'cannot unmarshal wrapped join request') },
  { title: 'that is not a message', request: wrapped(Buffer.from('garbage')), expected: text(400, 'cannot unmarshal join request') },
  {
    title: 'that is not a message, compressed',
    request: wrapped(gzipSync(Buffer.from('garbage')), 1),
    expected: text(400, 'cannot unmarshal join request'),
  },
  {
    title: 'that is larger than 1 MiB uncompressed',
    request: wrapped(gzipSync(Buffer.alloc(1024 * 1024 + 1)), 1),
    expected: text(400, 'join request too large'),
  },
];

/** Validates as a client does after a failed connection. @param {SignalOptions} signalling @returns {Promise<Rejection>} */
async function validate(signalling) {
  const { pathname, search } = addressOf(server.url, signalling);
  const { status, headers, body } = await exchange(server.url, { method: 'GET', path: `${pathname}/validate${search}` });
  return { status, type: headers['content-type'], body: body.toString() };
}

/** @param {Rejection | undefined} rejection @param {any} expected */
function expectRejection(rejection, expected) {
  const { status, type, text: body } = expectedOf(expected, session.kind);
  expect(rejection).toEqual(matcher({ status, type, body }));
}

describe.each(/** @type {const} */ (['/rtc', '/rtc/v1']))('%s rejects a token', (path) => {
  test.each(TOKENS)('$title', async ({ token, expected }) => {
    const signalling = { path, token: typeof token === 'object' ? tokenOf({ room: '', identity: '', token }) : token };
    const { rejection } = await tryToConnectSignalling({ room: '', identity: 'ann', signalling });
    expectRejection(rejection, expected);
    expect(await validate(signalling)).toEqual(rejection);
  });
});

describe('/rtc/v1 rejects a join request', () => {
  test.each(JOIN_REQUESTS)('$title', async ({ request, expected }) => {
    const options = { room: newRoom(), identity: 'ann' };
    const query = { join_request: request };
    const { rejection } = await tryToConnectSignalling({ ...options, signalling: { query } });
    expectRejection(rejection, expected);
    expect(await validate({ token: tokenOf(options), query })).toEqual(rejection);
  });
});

test('a full room rejects other participants than its own', async () => {
  const room = newRoom();
  await callApi('CreateRoom', { name: room, max_participants: 1 });
  const ann = await connectSignalling({ room, identity: 'ann' });
  const ben = { room, identity: 'ben' };
  const { rejection } = await tryToConnectSignalling(ben);
  const { upgrade, validate: validation } = expectedInSession('full room', 'rejection', session.kind);
  expectRejection(rejection, upgrade);
  expectRejection(await validate({ token: tokenOf(ben) }), validation);
  const again = await connectSignalling({ room, identity: 'ann' });
  await again.receives('join');
  await ann.receives('leave');
  again.leave();
  await ann.isClosed();
  await eventually('ben joins', () => tryToConnectSignalling(ben), ({ client }) => expect(client).toBeDefined());
});
