'use strict';

// Methods of the room service that take a participant or a room, while the room has no participants.

const { deviates } = require('../deviations.js');
const { denied, invalid, noParticipant, noRoom, ok, twirpError } = require('../support/responses.js');
const { ADMIN, admin, inBoth } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

const unknownParticipant = deviates('unknown participant', 'responds at once');

/**
 * A valid message of each method, and the response while its participant is not in the room.
 * @type {Record<string, { message: Record<string, any>, expected: Request['expected'] }>}
 */
const METHODS = {
  GetParticipant: { message: { identity: 'unknown' }, expected: noParticipant },
  RemoveParticipant: { message: { identity: 'unknown', revoke_token_ts: 5 }, expected: noParticipant },
  UpdateParticipant: { message: { identity: 'unknown', metadata: 'm', name: 'n', attributes: { a: 'b' } }, expected: noParticipant },
  MutePublishedTrack: { message: { identity: 'unknown', track_sid: 'TR_none', muted: true }, expected: unknownParticipant },
  UpdateSubscriptions: { message: { identity: 'unknown', track_sids: ['TR_none'], subscribe: true }, expected: unknownParticipant },
  ForwardParticipant: { message: { identity: 'unknown', destination_room: '$room-b' }, expected: unknownParticipant },
  MoveParticipant: { message: { identity: 'unknown', destination_room: '$room-b' }, expected: unknownParticipant },
  PerformRpc: {
    message: { destination_identity: 'unknown', method: 'greet', payload: 'hello', response_timeout_ms: 500 },
    expected: unknownParticipant,
  },
};

/** A valid message of every method that needs the grant roomAdmin. @type {Record<string, Record<string, any>>} */
const MESSAGES = {
  ...Object.fromEntries(Object.entries(METHODS).map(([method, { message }]) => [method, message])),
  ListParticipants: {},
  SendData: { data: Buffer.from('hello'), kind: 1, topic: 't' },
  UpdateRoomMetadata: { metadata: 'm' },
};

/**
 * @param {string} method
 * @param {string} title
 * @param {Record<string, any>} message
 * @param {Request['expected']} expected
 * @param {Partial<Request>} [more]
 * @returns {Request}
 */
const call = (method, title, message, expected, more) => ({
  title: `${method} ${title}`,
  method,
  message: { room: '$room', ...message },
  token: admin,
  expected,
  ...more,
});

const WRONG_TOKENS = {
  'no token': undefined,
  'no grants': { video: undefined },
  'no grant roomAdmin': { video: { ...ADMIN, roomAdmin: undefined } },
  'the grant for another room': { video: { ...ADMIN, room: 'another' } },
  'the grant for no room': { video: { ...ADMIN, room: undefined } },
};

const unauthorized = Object.entries(MESSAGES).flatMap(([method, message]) =>
  Object.entries(WRONG_TOKENS).map(([title, token]) => call(method, `is denied with ${title}`, message, denied, { token, room: {} })),
);

const absent = [
  ...Object.entries(METHODS).flatMap(([method, { message, expected }]) =>
    inBoth(call(method, 'does not find a participant in an empty room', message, expected, { room: {} })),
  ),
  ...Object.entries(METHODS).map(([method, { message, expected }]) =>
    call(method, 'does not find a participant in an unknown room', message, expected),
  ),
];

const withoutIdentity = Object.entries(METHODS)
  .filter(([method]) => method !== 'PerformRpc')
  .map(([method, { message, expected }]) =>
    call(method, 'does not find a participant without an identity', { ...message, identity: '' }, expected, { room: {} }),
  );

const sameRoom = twirpError(400, 'invalid_argument', 'destination room cannot be the same as source room ', {
  argument: 'destination room cannot be the same as source room',
});

const moving = ['ForwardParticipant', 'MoveParticipant'].flatMap((method) => [
  call(method, 'rejects the source room as the destination', { identity: 'unknown', destination_room: '$room' }, sameRoom, {
    token: { video: { ...ADMIN, destinationRoom: '$room' } },
  }),
  call(method, 'is denied for another destination than that of the token', MESSAGES[method], denied, {
    token: { video: { ...ADMIN, destinationRoom: 'another' } },
  }),
  call(method, 'is denied without a destination in the token', MESSAGES[method], denied, {
    token: { video: { ...ADMIN, destinationRoom: undefined } },
  }),
]);

const wrongNonce = twirpError(400, 'invalid_argument', 'nonce should be 16-bytes or not present, got: 15 bytes');
const { data } = MESSAGES.SendData;

const sending = [
  ...inBoth(call('SendData', 'succeeds in an empty room', MESSAGES.SendData, ok({}), { room: {} })),
  ...inBoth(call('SendData', 'succeeds with an unknown destination', { data, destination_identities: ['unknown'] }, ok({}), { room: {} })),
  call('SendData', 'succeeds without data', {}, ok({}), { room: {} }),
  call('SendData', 'accepts a megabyte', { data: Buffer.alloc(1_000_000) }, ok({}), { room: {} }),
  ...inBoth(call('SendData', 'accepts a nonce', { data, nonce: Buffer.alloc(16) }, ok({}), { room: {} })),
  call('SendData', 'rejects a nonce of 15 bytes', { data, nonce: Buffer.alloc(15) }, wrongNonce, { room: {} }),
  call('SendData', 'checks the nonce before the room', { data, nonce: Buffer.alloc(15) }, wrongNonce),
  call('SendData', 'does not find an unknown room', MESSAGES.SendData, deviates('unknown room', 'responds at once')),
];

const listing = [
  ...inBoth(call('ListParticipants', 'lists no participants of an empty room', {}, ok({ participants: [] }), { room: {} })),
  call('ListParticipants', 'lists no participants of an unknown room', {}, ok({ participants: [] })),
];

const ATTRIBUTES_BYTES = 64 * 1024;
const METADATA_BYTES = 512 * 1024;
const NAME_BYTES = 256;
const longName = invalid('name length exceeds limits', String(NAME_BYTES));
/** @param {number} bytes */
const attributes = (bytes) => ({ a: 'b'.repeat(bytes / 2 - 1), c: 'd'.repeat(bytes / 2 - 1) });

/** @param {string} title @param {Record<string, any>} message @param {Request['expected']} expected @param {Partial<Request>} [more] */
const update = (title, message, expected, more) => call('UpdateParticipant', title, { identity: 'unknown', ...message }, expected, more);

const limits = [
  update('accepts a name of 256 bytes', { name: 'n'.repeat(NAME_BYTES) }, noParticipant),
  update('rejects a name of 257 bytes', { name: 'n'.repeat(NAME_BYTES + 1) }, longName),
  update('accepts 512 KiB of metadata', { metadata: 'm'.repeat(METADATA_BYTES) }, noParticipant),
  update(
    'rejects more than 512 KiB of metadata',
    { metadata: 'm'.repeat(METADATA_BYTES + 1) },
    invalid('metadata size exceeds limits', String(METADATA_BYTES)),
  ),
  update('accepts 64 KiB of attributes', { attributes: attributes(ATTRIBUTES_BYTES) }, noParticipant),
  update(
    'rejects more than 64 KiB of attributes',
    { attributes: attributes(ATTRIBUTES_BYTES + 2) },
    invalid('attribute size exceeds limits', String(ATTRIBUTES_BYTES)),
  ),
  update('checks the name before the token', { identity: '', name: 'n'.repeat(NAME_BYTES + 1) }, longName, { token: undefined }),
  ...inBoth(call('UpdateRoomMetadata', 'does not find an unknown room', { metadata: 'm' }, noRoom)),
  call(
    'PerformRpc',
    'rejects a call without a destination',
    { method: 'greet' },
    twirpError(400, 'invalid_argument', 'destination identity is required'),
    { room: {} },
  ),
];

module.exports = [...unauthorized, ...absent, ...withoutIdentity, ...moving, ...sending, ...listing, ...limits];
