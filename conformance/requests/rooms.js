'use strict';

// Rooms: made, listed, changed, deleted.

const { deviates } = require('../deviations.js');
const { ROOM_BYTES } = require('../support/server.js');
const { denied, gives, invalid, noRoom, refuses, room } = require('../support/answers.js');
const { admin, inBoth } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

const METADATA_BYTES = 512 * 1024;
const ATTRIBUTES_BYTES = 64 * 1024;
const tooLongName = refuses(400, 'invalid_argument', 'room name length exceeds limits: max length 256');
const tooLongMetadata = invalid('metadata size exceeds limits', '524288');
const tooLongAttributes = invalid('attribute size exceeds limits', '65536');

/** A name of so many bytes, made of characters of so many. @param {number} bytes @param {string} [filler] */
const nameOf = (bytes, filler = 'n') => `$room${filler.repeat((bytes - ROOM_BYTES) / Buffer.byteLength(filler))}`;

/** @param {string} title @param {Record<string, any>} message @param {Request['expected']} expected @param {Partial<Request>} [more] */
const create = (title, message, expected, more) =>
  inBoth(`CreateRoom ${title}`, {
    method: 'CreateRoom',
    message: { name: '$room', ...message },
    token: { video: { roomCreate: true } },
    expected,
    ...more,
  });

const everySetting = { empty_timeout: 7, departure_timeout: 8, max_participants: 9, metadata: 'über <&>' };
const unseenSettings = { tags: { a: 'b' }, node_id: 'ND_none' };
/** @param {string} feature */
const unsupported = (feature) => deviates('a room with what the engine does not have', `is not made, with ${feature}`);

const creating = [
  ...create('gives the room it has made', {}, gives(room({}))),
  ...create('gives it with its TURN password', {}, deviates('the TURN password of a room', 'is told')),
  ...create('takes every setting', everySetting, gives(room(everySetting))),
  ...create('takes a zero as its default', { empty_timeout: 0, departure_timeout: 0, max_participants: 0 }, gives(room({}))),
  ...create('sets one timer without the other', { empty_timeout: 5 }, gives(room({ empty_timeout: 5 }))),
  ...create('sets the other timer without the one', { departure_timeout: 5 }, gives(room({ departure_timeout: 5 }))),
  ...create(
    'takes the largest numbers',
    { empty_timeout: 2 ** 32 - 1, departure_timeout: 2 ** 32 - 1, max_participants: 2 ** 32 - 1 },
    gives(room({ empty_timeout: 2 ** 32 - 1, departure_timeout: 2 ** 32 - 1, max_participants: 2 ** 32 - 1 })),
  ),
  ...create('takes settings that it does not tell', unseenSettings, gives(room({}))),
  ...create('takes an egress without a recorder', { egress: {} }, gives(room({}))),
  ...create('with agents', { agents: [{ agent_name: 'none', metadata: 'm', attributes: { a: 'b' } }] }, unsupported('agents')),
  ...create('with a shortest playout delay', { min_playout_delay: 100 }, unsupported('a playout delay')),
  ...create('with a longest playout delay', { max_playout_delay: 200 }, unsupported('a playout delay')),
  ...create('with synchronized streams', { sync_streams: true }, unsupported('synchronized streams')),
  ...create(
    'gives a live room unchanged',
    { empty_timeout: 1, max_participants: 1, metadata: 'second' },
    gives(room({ metadata: 'first' })),
    {
      room: { metadata: 'first' },
    },
  ),
  ...create(
    'knows no presets',
    { room_preset: 'none' },
    refuses(400, 'invalid_argument', 'unknown room configuration in create room request'),
  ),
  ...create('looks at no preset of a live room', { room_preset: 'none' }, gives(room({})), { room: {} }),
  ...create('takes any Unicode', { name: '$room räum 会议 🎥 %2F/../<&>"' }, gives(room({ name: '$room räum 会议 🎥 %2F/../<&>"' }))),
  ...create('takes a zero character in a name', { name: '$room\0' }, gives(room({ name: '$room\0' }))),
  ...create('takes no name as a name', { name: '' }, gives(room({ name: '' }))),
  ...create('takes a name of 256 bytes', { name: nameOf(256) }, gives(room({ name: nameOf(256) }))),
  ...create('refuses a name of 257 bytes', { name: nameOf(257) }, tooLongName),
  ...create('counts bytes, not characters: 256', { name: nameOf(256, 'é') }, gives(room({ name: nameOf(256, 'é') }))),
  ...create('counts bytes, not characters: 258', { name: nameOf(258, 'é') }, tooLongName),
  ...create('takes 512 KiB of metadata', { metadata: 'm'.repeat(METADATA_BYTES) }, gives(room({ metadata: 'm'.repeat(METADATA_BYTES) }))),
  ...create('refuses one byte more', { metadata: 'm'.repeat(METADATA_BYTES + 1) }, tooLongMetadata),
  ...create('refuses too much metadata of an agent', { agents: [{ metadata: 'm'.repeat(METADATA_BYTES + 1) }] }, tooLongMetadata),
  ...create(
    'refuses too many attributes of an agent',
    { agents: [{ attributes: { a: 'm'.repeat(ATTRIBUTES_BYTES) } }] },
    tooLongAttributes,
  ),
  ...create('is refused without a token', {}, denied, { token: undefined }),
  ...create('is refused with another grant', {}, denied, {
    token: { video: { roomAdmin: true, roomList: true, roomJoin: true, room: '$room' } },
  }),
  ...create('is refused before its arguments are looked at', { name: nameOf(257) }, denied, { token: undefined }),
  ...create('is not bound to the room of the token', {}, gives(room({})), { token: { video: { roomCreate: true, room: 'another' } } }),
];

/** @param {string} title @param {Record<string, any>} message @param {Request['expected']} expected @param {Partial<Request>} [more] */
const list = (title, message, expected, more) =>
  inBoth(`ListRooms ${title}`, { method: 'ListRooms', message, token: { video: { roomList: true } }, expected, ...more });

const listing = [
  ...list('gives a room by its name', { names: ['$room'] }, gives({ rooms: [room({ metadata: 'm' })] }), { room: { metadata: 'm' } }),
  ...list('gives a room once that is named twice', { names: ['$room', '$room'] }, gives({ rooms: [room({})] }), { room: {} }),
  ...list('leaves out what is not there', { names: ['$room', '$room-b'] }, gives({ rooms: [room({})] }), { room: {} }),
  ...list('gives none', { names: ['$room'] }, gives({ rooms: [] })),
  ...list('knows no beginnings of names', { names: ['conformance-'] }, gives({ rooms: [] }), { room: {} }),
  ...list('leaves out a deleted room', { names: ['$room'] }, gives({ rooms: [] }), { room: {}, deleted: true }),
  ...list('is refused without a token', { names: ['$room'] }, denied, { token: undefined }),
  ...list('is refused with another grant', { names: ['$room'] }, denied, {
    token: { video: { roomCreate: true, roomAdmin: true, room: '$room' } },
  }),
];

/** @param {string} title @param {Record<string, any>} message @param {Request['expected']} expected @param {Partial<Request>} [more] */
const remove = (title, message, expected, more) =>
  inBoth(`DeleteRoom ${title}`, { method: 'DeleteRoom', message, token: { video: { roomCreate: true } }, expected, ...more });

const deleting = [
  ...remove('deletes', { room: '$room' }, gives({}), { room: {} }),
  ...remove('finds no room', { room: '$room' }, noRoom),
  ...remove('finds no room, and says so', { room: '$room' }, noRoom),
  ...remove('finds a room once', { room: '$room' }, noRoom, { room: {}, deleted: true }),
  ...remove('finds no room by a name that is too long', { room: nameOf(257) }, noRoom),
  ...remove('is refused without a token', { room: '$room' }, denied, { room: {}, token: undefined }),
  ...remove('is refused with another grant', { room: '$room' }, denied, {
    room: {},
    token: { video: { roomAdmin: true, roomList: true, room: '$room' } },
  }),
];

/** @param {string} title @param {string | undefined} metadata @param {Request['expected']} expected @param {Partial<Request>} [more] */
const update = (title, metadata, expected, more) =>
  inBoth(`UpdateRoomMetadata ${title}`, {
    method: 'UpdateRoomMetadata',
    message: { room: '$room', ...(metadata !== undefined && { metadata }) },
    token: admin,
    expected,
    ...more,
  });

const updating = [
  ...update('gives the room with it', 'second', gives(room({ metadata: 'second', max_participants: 3 })), {
    room: { metadata: 'first', max_participants: 3 },
  }),
  ...update('takes it away', '', gives(room({})), { room: { metadata: 'first' } }),
  ...update('takes it away where none is given', undefined, gives(room({})), { room: { metadata: 'first' } }),
  ...update('takes 512 KiB', 'm'.repeat(METADATA_BYTES), gives(room({ metadata: 'm'.repeat(METADATA_BYTES) })), { room: {} }),
  ...update('refuses one byte more', 'm'.repeat(METADATA_BYTES + 1), tooLongMetadata, { room: {} }),
  ...update('refuses one byte more before it looks at the token', 'm'.repeat(METADATA_BYTES + 1), deviates('a long body without a permission', 'is not read'), {
    token: undefined,
  }),
  ...update('finds no room', 'm', noRoom),
];

module.exports = [...creating, ...listing, ...deleting, ...updating];
