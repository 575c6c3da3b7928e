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
  getRoom: (roomId, media) => media.getRoom(roomId),
  updateRoom: (roomId, media) => media.updateRoom(roomId, { metadata: 'm' }),
  getParticipant: (roomId, media) => media.getParticipant(roomId, 'ann'),
  updateParticipant: (roomId, media) => media.updateParticipant(roomId, 'ann', {}),
  muteParticipant: (roomId, media) => media.muteParticipant(roomId, 'ann'),
  sendData: (roomId, media) => media.sendData(roomId, 'hello'),
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
  getRoom: (options, media) => media.getRoom('room', options),
  updateRoom: (options, media) => media.updateRoom('room', { metadata: 'm' }, options),
  getParticipant: (options, media) => media.getParticipant('room', 'ann', options),
  updateParticipant: (options, media) => media.updateParticipant('room', 'ann', {}, options),
  muteParticipant: (options, media) => media.muteParticipant('room', 'ann', options),
  sendData: (options, media) => media.sendData('room', 'hello', options),
  removeParticipant: (options, media) => media.removeParticipant('room', 'ann', options),
};

/** Calls of each method that takes an identity with that one. @type {Record<string, (identity: any, media: Media) => Promise<any>>} */
const withIdentity = {
  getParticipant: (identity, media) => media.getParticipant('room', identity),
  updateParticipant: (identity, media) => media.updateParticipant('room', identity, {}),
  muteParticipant: (identity, media) => media.muteParticipant('room', identity),
  removeParticipant: (identity, media) => media.removeParticipant('room', identity),
};

/** The error a call rejects with. A call that throws or returns no promise fails the test. */
async function rejectionOf(call, value) {
  const promise = call(value);
  expect(typeof promise?.then).toBe('function');
  return failureOf(promise);
}

module.exports = { ann, rejectionOf, withIdentity, withOptions, withRoom };
