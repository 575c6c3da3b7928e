'use strict';

// For tests of arguments: each method with a given room id or given options.

const { failureOf } = require('./failure.js');

/** @typedef {import('../../index.js').MediaService} Media */

const ann = { identity: 'ann', name: 'Ann' };

/** Calls of each method with that room id. @type {Record<string, (roomId: any, media: Media) => Promise<any>>} */
const withRoom = {
  createRoom: (roomId, media) => media.createRoom(roomId),
  deleteRoom: (roomId, media) => media.deleteRoom(roomId),
  generateToken: (roomId, media) => media.generateToken(roomId, ann),
  listParticipants: (roomId, media) => media.listParticipants(roomId),
  removeParticipant: (roomId, media) => media.removeParticipant(roomId, 'ann'),
};

/** Calls of each method with those options. @type {Record<string, (options: any, media: Media) => Promise<any>>} */
const withOptions = {
  createRoom: (options, media) => media.createRoom('room', {}, options),
  deleteRoom: (options, media) => media.deleteRoom('room', options),
  listRooms: (options, media) => media.listRooms(options),
  generateToken: (options, media) => media.generateToken('room', ann, options),
  mediaUrl: (options, media) => media.mediaUrl(options),
  listParticipants: (options, media) => media.listParticipants('room', options),
  removeParticipant: (options, media) => media.removeParticipant('room', 'ann', options),
};

/** The error a call rejects with. A call that throws or returns no promise fails the test. */
async function rejectionOf(call, value) {
  const promise = call(value);
  expect(typeof promise?.then).toBe('function');
  return failureOf(promise);
}

module.exports = { ann, rejectionOf, withOptions, withRoom };
