'use strict';

// The methods of a room's administrator, while nobody is in a room.

const { deviates } = require('../deviations.js');
const { denied, gives, invalid, noParticipant, noRoom, refuses } = require('../support/answers.js');
const { ADMIN, admin, inBoth } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

const silent = deviates('a participant who is not there', 'is answered for at once');

/**
 * A good request of each, and what comes while its participant is not there.
 * @type {Record<string, { message: Record<string, any>, expected: Request['expected'] }>}
 */
const METHODS = {
  GetParticipant: { message: { identity: 'nobody' }, expected: noParticipant },
  RemoveParticipant: { message: { identity: 'nobody', revoke_token_ts: 5 }, expected: noParticipant },
  UpdateParticipant: { message: { identity: 'nobody', metadata: 'm', name: 'n', attributes: { a: 'b' } }, expected: noParticipant },
  MutePublishedTrack: { message: { identity: 'nobody', track_sid: 'TR_none', muted: true }, expected: silent },
  UpdateSubscriptions: { message: { identity: 'nobody', track_sids: ['TR_none'], subscribe: true }, expected: silent },
  ForwardParticipant: { message: { identity: 'nobody', destination_room: '$room-b' }, expected: silent },
  MoveParticipant: { message: { identity: 'nobody', destination_room: '$room-b' }, expected: silent },
  PerformRpc: {
    message: { destination_identity: 'nobody', method: 'greet', payload: 'hello', response_timeout_ms: 500 },
    expected: silent,
  },
};

/** Those too that need no participant. @type {Record<string, Record<string, any>>} */
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
 */
const call = (method, title, message, expected, more) =>
  inBoth(`${method} ${title}`, { method, message: { room: '$room', ...message }, token: admin, expected, ...more });

const WRONG_TOKENS = {
  'without a token': undefined,
  'without grants': { video: undefined },
  'without the grant': { video: { ...ADMIN, roomAdmin: undefined } },
  'with the grant for another room': { video: { ...ADMIN, room: 'another' } },
  'with the grant for no room': { video: { ...ADMIN, room: undefined } },
};

const refused = Object.entries(MESSAGES).flatMap(([method, message]) =>
  Object.entries(WRONG_TOKENS).flatMap(([how, token]) => call(method, `is refused ${how}`, message, denied, { token, room: {} })),
);

const absent = Object.entries(METHODS).flatMap(([method, { message, expected }]) =>
  [
    call(method, 'finds nobody in a room', message, expected, { room: {} }),
    call(method, 'finds nobody in a room that is not there', message, expected),
  ].flat(),
);

const nameless = Object.entries(METHODS)
  .filter(([method]) => method !== 'PerformRpc')
  .flatMap(([method, { message, expected }]) =>
    call(method, 'takes nobody for anybody', { ...message, identity: '' }, expected, { room: {} }),
  );

const sameRoom = refuses(400, 'invalid_argument', 'destination room cannot be the same as source room ', {
  argument: 'destination room cannot be the same as source room',
});

const moving = ['ForwardParticipant', 'MoveParticipant'].flatMap((method) =>
  [
    call(method, 'refuses a way to where it starts', { identity: 'nobody', destination_room: '$room' }, sameRoom, {
      token: { video: { ...ADMIN, destinationRoom: '$room' } },
    }),
    call(method, 'is refused for another destination', MESSAGES[method], denied, {
      token: { video: { ...ADMIN, destinationRoom: 'another' } },
    }),
    call(method, 'is refused without a destination in the token', MESSAGES[method], denied, {
      token: { video: { ...ADMIN, destinationRoom: undefined } },
    }),
  ].flat(),
);

const nonce = refuses(400, 'invalid_argument', 'nonce should be 16-bytes or not present, got: 15 bytes');
const { data } = MESSAGES.SendData;

const sending = [
  ...call('SendData', 'sends into an empty room', MESSAGES.SendData, gives({}), { room: {} }),
  ...call('SendData', 'sends to nobody', { data, destination_identities: ['nobody'] }, gives({}), { room: {} }),
  ...call('SendData', 'sends nothing', {}, gives({}), { room: {} }),
  ...call('SendData', 'sends a megabyte', { data: Buffer.alloc(1_000_000) }, gives({}), { room: {} }),
  ...call('SendData', 'takes a nonce', { data, nonce: Buffer.alloc(16) }, gives({}), { room: {} }),
  ...call('SendData', 'refuses a nonce of 15 bytes', { data, nonce: Buffer.alloc(15) }, nonce, { room: {} }),
  ...call('SendData', 'refuses a nonce before it looks for the room', { data, nonce: Buffer.alloc(15) }, nonce),
  ...call('SendData', 'finds no room', MESSAGES.SendData, deviates('a room that is not there', 'is answered for at once')),
];

const listing = [
  ...call('ListParticipants', 'gives none', {}, gives({ participants: [] }), { room: {} }),
  ...call('ListParticipants', 'gives none of a room that is not there', {}, gives({ participants: [] })),
];

/** @param {number} bytes */
const attributes = (bytes) => ({ a: 'b'.repeat(bytes / 2 - 1), c: 'd'.repeat(bytes / 2 - 1) });
const BYTES = 512 * 1024;

const limits = [
  ...call('UpdateParticipant', 'takes a name of 256 bytes', { identity: 'nobody', name: 'n'.repeat(256) }, noParticipant),
  ...call(
    'UpdateParticipant',
    'refuses a name of 257',
    { identity: 'nobody', name: 'n'.repeat(257) },
    invalid('name length exceeds limits', '256'),
  ),
  ...call('UpdateParticipant', 'takes 512 KiB of metadata', { identity: 'nobody', metadata: 'm'.repeat(BYTES) }, noParticipant),
  ...call(
    'UpdateParticipant',
    'refuses more',
    { identity: 'nobody', metadata: 'm'.repeat(BYTES + 1) },
    invalid('metadata size exceeds limits', '524288'),
  ),
  ...call('UpdateParticipant', 'takes 64 KiB of attributes', { identity: 'nobody', attributes: attributes(65_536) }, noParticipant),
  ...call(
    'UpdateParticipant',
    'refuses more of them',
    { identity: 'nobody', attributes: attributes(65_538) },
    invalid('attribute size exceeds limits', '65536'),
  ),
  ...call(
    'UpdateParticipant',
    'refuses a name before it looks at the token',
    { name: 'n'.repeat(257) },
    invalid('name length exceeds limits', '256'),
    {
      token: undefined,
    },
  ),
  ...call('UpdateRoomMetadata', 'finds no room for an administrator of it', { metadata: 'm' }, noRoom),
  ...call(
    'PerformRpc',
    'refuses to call nobody',
    { method: 'greet' },
    refuses(400, 'invalid_argument', 'destination identity is required'),
    { room: {} },
  ),
];

module.exports = [...refused, ...absent, ...nameless, ...moving, ...sending, ...listing, ...limits];
