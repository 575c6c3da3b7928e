'use strict';

// Rooms: created, listed, updated, deleted.

const { deviates } = require('../deviations.js');
const { ROOM_BYTES } = require('../support/server.js');
const { denied, invalid, noRoom, ok, room, twirpError } = require('../support/responses.js');
const { admin, inBoth } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

const METADATA_BYTES = 512 * 1024;
const ATTRIBUTES_BYTES = 64 * 1024;
const MAX_U32 = 2 ** 32 - 1;
const longName = twirpError(400, 'invalid_argument', 'room name length exceeds limits: max length 256');
const longMetadata = invalid('metadata size exceeds limits', '524288');
const longAttributes = invalid('attribute size exceeds limits', '65536');

/** A name of so many bytes. @param {number} bytes @param {string} [filler] The character that fills it. */
const nameOf = (bytes, filler = 'n') => `$room${filler.repeat((bytes - ROOM_BYTES) / Buffer.byteLength(filler))}`;

/**
 * @param {string} title
 * @param {Record<string, any>} message
 * @param {Request['expected']} expected
 * @param {Partial<Request>} [more]
 * @returns {Request}
 */
const create = (title, message, expected, more) => ({
  title: `CreateRoom ${title}`,
  method: 'CreateRoom',
  message: { name: '$room', ...message },
  token: { video: { roomCreate: true } },
  expected,
  ...more,
});

const everySetting = { empty_timeout: 7, departure_timeout: 8, max_participants: 9, metadata: 'über <&>' };
const largest = { empty_timeout: MAX_U32, departure_timeout: MAX_U32, max_participants: MAX_U32 };
const unicode = '$room räum 会议 🎥 %2F/../<&>"';
/** @param {string} feature */
const unsupported = (feature) => deviates('room with an unsupported feature', `created with ${feature}`);

/** Cases that set fields of the request, or read fields of the response, which no other case does. */
const fields = [
  create('responds with the room', {}, ok(room({}))),
  create('responds with the TURN password', {}, deviates('TURN password of a room', 'in the response')),
  create('applies every setting', everySetting, ok(room(everySetting))),
  create('applies the default for zero', { empty_timeout: 0, departure_timeout: 0, max_participants: 0 }, ok(room({}))),
  create('accepts the largest numbers', largest, ok(room(largest))),
  create('accepts settings that are not in the response', { tags: { a: 'b' }, node_id: 'ND_none' }, ok(room({}))),
  create('accepts an egress without a recorder', { egress: {} }, ok(room({}))),
  create('with agents', { agents: [{ agent_name: 'none', metadata: 'm', attributes: { a: 'b' } }] }, unsupported('agents')),
  create('with a minimum playout delay', { min_playout_delay: 100 }, unsupported('a playout delay')),
  create('with a maximum playout delay', { max_playout_delay: 200 }, unsupported('a playout delay')),
  create('with synchronized streams', { sync_streams: true }, unsupported('synchronized streams')),
  create(
    'rejects an unknown preset',
    { room_preset: 'none' },
    twirpError(400, 'invalid_argument', 'unknown room configuration in create room request'),
  ),
  create('accepts any Unicode in a name', { name: unicode }, ok(room({ name: unicode }))),
].flatMap(inBoth);

const creating = [
  create('applies empty_timeout without departure_timeout', { empty_timeout: 5 }, ok(room({ empty_timeout: 5 }))),
  create('applies departure_timeout without empty_timeout', { departure_timeout: 5 }, ok(room({ departure_timeout: 5 }))),
  create(
    'responds with an existing room, and does not change it',
    { empty_timeout: 1, max_participants: 1, metadata: 'second' },
    ok(room({ metadata: 'first' })),
    { room: { metadata: 'first' } },
  ),
  create('ignores the preset for an existing room', { room_preset: 'none' }, ok(room({})), { room: {} }),
  create('accepts a zero character in a name', { name: '$room\0' }, ok(room({ name: '$room\0' }))),
  create('accepts an empty name', { name: '' }, ok(room({ name: '' }))),
  create('accepts a name of 256 bytes', { name: nameOf(256) }, ok(room({ name: nameOf(256) }))),
  create('rejects a name of 257 bytes', { name: nameOf(257) }, longName),
  create('accepts a name of 256 bytes in fewer characters', { name: nameOf(256, 'é') }, ok(room({ name: nameOf(256, 'é') }))),
  create('rejects a name of 258 bytes in fewer characters', { name: nameOf(258, 'é') }, longName),
  create('accepts 512 KiB of metadata', { metadata: 'm'.repeat(METADATA_BYTES) }, ok(room({ metadata: 'm'.repeat(METADATA_BYTES) }))),
  create('rejects more than 512 KiB of metadata', { metadata: 'm'.repeat(METADATA_BYTES + 1) }, longMetadata),
  create('rejects more than 512 KiB of metadata of an agent', { agents: [{ metadata: 'm'.repeat(METADATA_BYTES + 1) }] }, longMetadata),
  create(
    'rejects more than 64 KiB of attributes of an agent',
    { agents: [{ attributes: { a: 'm'.repeat(ATTRIBUTES_BYTES) } }] },
    longAttributes,
  ),
  create('is denied without a token', {}, denied, { token: undefined }),
  create('is denied with all other grants', {}, denied, {
    token: { video: { roomAdmin: true, roomList: true, roomJoin: true, room: '$room' } },
  }),
  create('checks the token before the message', { name: nameOf(257) }, denied, { token: undefined }),
  create('is not limited to the room of the token', {}, ok(room({})), { token: { video: { roomCreate: true, room: 'another' } } }),
];

/** @type {typeof create} */
const list = (title, message, expected, more) => ({
  title: `ListRooms ${title}`,
  method: 'ListRooms',
  message,
  token: { video: { roomList: true } },
  expected,
  ...more,
});

const listing = [
  ...inBoth(list('lists a room by name', { names: ['$room'] }, ok({ rooms: [room({ metadata: 'm' })] }), { room: { metadata: 'm' } })),
  list('lists a room once that is named twice', { names: ['$room', '$room'] }, ok({ rooms: [room({})] }), { room: {} }),
  list('omits unknown rooms', { names: ['$room', '$room-b'] }, ok({ rooms: [room({})] }), { room: {} }),
  list('lists nothing if no named room exists', { names: ['$room'] }, ok({ rooms: [] })),
  list('does not match prefixes of names', { names: ['conformance-'] }, ok({ rooms: [] }), { room: {} }),
  list('omits a deleted room', { names: ['$room'] }, ok({ rooms: [] }), { room: {}, deleted: true }),
  list('is denied without a token', { names: ['$room'] }, denied, { token: undefined }),
  list('is denied with all other grants', { names: ['$room'] }, denied, {
    token: { video: { roomCreate: true, roomAdmin: true, room: '$room' } },
  }),
];

/** @type {typeof create} */
const remove = (title, message, expected, more) => ({
  title: `DeleteRoom ${title}`,
  method: 'DeleteRoom',
  message: { room: '$room', ...message },
  token: { video: { roomCreate: true } },
  expected,
  ...more,
});

const deleting = [
  ...inBoth(remove('deletes a room', {}, ok({}), { room: {} })),
  remove('does not find an unknown room', {}, noRoom),
  remove('does not find a deleted room', {}, noRoom, { room: {}, deleted: true }),
  remove('does not find a room by a name of 257 bytes', { room: nameOf(257) }, noRoom),
  remove('is denied without a token', {}, denied, { room: {}, token: undefined }),
  remove('is denied with all other grants', {}, denied, { room: {}, token: { video: { roomAdmin: true, roomList: true, room: '$room' } } }),
];

/** @type {typeof create} */
const update = (title, message, expected, more) => ({
  title: `UpdateRoomMetadata ${title}`,
  method: 'UpdateRoomMetadata',
  message: { room: '$room', ...message },
  token: admin,
  expected,
  ...more,
});

const tooLarge = { metadata: 'm'.repeat(METADATA_BYTES + 1) };

const updating = [
  ...inBoth(
    update('responds with the updated room', { metadata: 'second' }, ok(room({ metadata: 'second', max_participants: 3 })), {
      room: { metadata: 'first', max_participants: 3 },
    }),
  ),
  update('removes the metadata', { metadata: '' }, ok(room({})), { room: { metadata: 'first' } }),
  update('removes the metadata if the message has none', {}, ok(room({})), { room: { metadata: 'first' } }),
  update('accepts 512 KiB', { metadata: 'm'.repeat(METADATA_BYTES) }, ok(room({ metadata: 'm'.repeat(METADATA_BYTES) })), { room: {} }),
  update('rejects more than 512 KiB', tooLarge, longMetadata, { room: {} }),
  update('with more than 512 KiB and no token', tooLarge, deviates('large body without a permission', 'rejected before it is read'), {
    token: undefined,
  }),
];

module.exports = [...fields, ...creating, ...listing, ...deleting, ...updating];
