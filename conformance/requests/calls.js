'use strict';

/** @typedef {import('../support/server.js').Request} Request */

/**
 * The request in JSON and in protobuf. For cases that show that both codecs have a method's fields; all others need one encoding.
 * @param {Request} request
 * @returns {Request[]}
 */
const inBoth = (request) => [request, { ...request, encoding: 'protobuf', title: `${request.title}, in protobuf` }];

/** Every grant for the room service. */
const ADMIN = { roomCreate: true, roomList: true, roomAdmin: true, room: '$room', destinationRoom: '$room-b' };

/** @type {Request['token']} */
const admin = { video: ADMIN };

module.exports = { ADMIN, admin, inBoth };
