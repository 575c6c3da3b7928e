'use strict';

// Who may not join, and that a client is told the same however it asks: as it connects, and when it validates afterwards.

const { gzipSync } = require('node:zlib');
const { deviates, expectedOf, experienceOf } = require('../deviations.js');
const { invalidToken, text } = require('../support/answers.js');
const { eventually } = require('../../test-support/eventually.js');
const { matcher } = require('../support/compare.js');
const { exchange } = require('../support/server.js');
const { setSession } = require('../support/session.js');
const { addressOf, inAddress } = require('../support/signalling.js');

/**
 * @typedef {import('../support/signalling.js').Dialling} Dialling
 * @typedef {import('../support/signalling.js').Refusal} Refusal
 * @typedef {{ title: string, token: import('../support/token.js').Token | string | undefined, expected: any }} Case
 */

const session = setSession();
const { ask, dials, newRoom, server, tokenOf, tryToDial } = session;

const video = { roomJoin: true, room: 'room' };
const refused = (/** @type {string} */ why) => deviates('a token that is refused', why);
const noAccess = text(401, 'no permissions to access the room');
const noToken = text(401, 'invalid authorization token');
const denied = text(401, 'permissions denied');
const long = 'n'.repeat(257);

/** @type {Case[]} */
const TOKENS = [
  { title: 'none', token: undefined, expected: noAccess },
  { title: 'one that is nothing', token: 'garbage', expected: noToken },
  { title: 'one of three parts that are nothing', token: 'a.b.c', expected: noToken },
  { title: 'one that has expired', token: { video, expiresIn: -120 }, expected: invalidToken.expired },
  { title: 'one that is not valid yet', token: { video, notBeforeIn: 120 }, expected: invalidToken.notYetValid },
  { title: 'one of another secret', token: { video, secret: 'another secret' }, expected: invalidToken.signature },
  {
    title: 'one without a signature',
    token: { video, spoil: (token) => token.replace(/[^.]*$/, '') },
    expected: invalidToken.signature,
  },
  { title: 'one without an algorithm', token: { video, header: { alg: 'none' } }, expected: refused('for its algorithm') },
  { title: 'one of an unknown key', token: { video, key: 'APInone' }, expected: invalidToken.unknownKey },
  { title: 'one without grants', token: {}, expected: noAccess },
  { title: 'one without the grant to join', token: { video: { room: 'room', roomAdmin: true } }, expected: denied },
  { title: 'one whose grant to join is false', token: { video: { ...video, roomJoin: false } }, expected: denied },
  { title: 'one without a room', token: { video: { roomJoin: true } }, expected: text(400, 'no room name') },
  { title: 'one without an identity', token: { video, claims: { sub: '' } }, expected: text(400, 'identity cannot be empty') },
  {
    title: 'one of too long an identity',
    token: { video, claims: { sub: long } },
    expected: text(400, 'participant identity length exceeds limits: max length 256'),
  },
  {
    title: 'one of too long a room',
    token: { video: { ...video, room: long } },
    expected: text(400, 'room name length exceeds limits: max length 256'),
  },
];

/** A wrapped join request, by hand. @param {Buffer} request @param {number} [compression] */
function wrapped(request, compression = 0) {
  const length = Buffer.from([(request.length & 127) | 128, ((request.length >> 7) & 127) | 128, request.length >> 14]);
  return inAddress(Buffer.concat([Buffer.from([0x08, compression, 0x12]), length, request]));
}

/** @type {{ title: string, request: string, expected: any }[]} */
const JOIN_REQUESTS = [
  { title: 'an empty one', request: '', expected: text(400, 'join_request is required') },
  { title: 'one that is not base64', request: '!!!', expected: text(400, 'cannot base64 decode wrapped join request') },
  { title: 'one without padding', request: 'CAE', expected: text(400, 'cannot base64 decode wrapped join request') },
  { title: 'one that is not wrapped', request: inAddress(Buffer.from('garbage')), expected: text(400, 'cannot unmarshal wrapped join request') },
  { title: 'one that is no message', request: wrapped(Buffer.from('garbage')), expected: text(400, 'cannot unmarshal join request') },
  {
    title: 'one that is no message, packed',
    request: wrapped(gzipSync(Buffer.from('garbage')), 1),
    expected: text(400, 'cannot unmarshal join request'),
  },
  {
    title: 'one that unpacks to more than 1 MiB',
    request: wrapped(gzipSync(Buffer.alloc(1024 * 1024 + 1)), 1),
    expected: text(400, 'join request too large'),
  },
];

/** What a client is told that asks why. @param {Dialling} dialling @returns {Promise<Refusal>} */
async function validate(dialling) {
  const { pathname, search } = addressOf(server.url, dialling);
  const { status, headers, body } = await exchange(server.url, { method: 'GET', path: `${pathname}/validate${search}` });
  return { status, type: headers['content-type'], body: body.toString() };
}

/** @param {Refusal | undefined} refusal @param {any} expected */
function expectRefusal(refusal, expected) {
  const { status, type, text: body } = expectedOf(expected, session.kind);
  expect(refusal).toEqual(matcher({ status, type, body }));
}

describe.each(/** @type {const} */ (['/rtc', '/rtc/v1']))('%s refuses a token', (path) => {
  test.each(TOKENS)('$title', async ({ token, expected }) => {
    const dialling = { path, token: typeof token === 'object' ? tokenOf({ room: '', identity: '', token }) : token };
    const { refusal } = await tryToDial({ room: '', identity: 'ann', dialling });
    expectRefusal(refusal, expected);
    expect(await validate(dialling)).toEqual(refusal);
  });
});

describe('/rtc/v1 refuses a join request', () => {
  test.each(JOIN_REQUESTS)('$title', async ({ request, expected }) => {
    const who = { room: newRoom(), identity: 'ann' };
    const query = { join_request: request };
    const { refusal } = await tryToDial({ ...who, dialling: { query } });
    expectRefusal(refusal, expected);
    expect(await validate({ token: tokenOf(who), query })).toEqual(refusal);
  });
});

test('a full room refuses all but those who are in it', async () => {
  const room = newRoom();
  await ask('CreateRoom', { name: room, max_participants: 1 });
  const ann = await dials({ room, identity: 'ann' });
  const ben = { room, identity: 'ben' };
  const { refusal } = await tryToDial(ben);
  const { upgrade, validate: validation } = experienceOf('a full room', 'refuses by its name', session.kind);
  expectRefusal(refusal, upgrade);
  expectRefusal(await validate({ token: tokenOf(ben) }), validation);
  const again = await dials({ room, identity: 'ann' });
  await again.hears('join');
  await ann.hears('leave');
  again.leaves();
  await ann.isClosed();
  await eventually('ben is let in', () => tryToDial(ben), ({ signaller }) => expect(signaller).toBeDefined());
});
