'use strict';

/** @typedef {import('../support/server.js').Request} Request */

/**
 * A call of a method, in each encoding.
 * @param {string} title
 * @param {Omit<Request, 'title'>} request
 * @returns {Request[]}
 */
const inBoth = (title, request) => [
  { ...request, encoding: 'json', title: `${title}, in JSON` },
  { ...request, encoding: 'protobuf', title: `${title}, in protobuf` },
];

/** All that a server's administrator may do. */
const ADMIN = { roomCreate: true, roomList: true, roomAdmin: true, room: '$room', destinationRoom: '$room-b' };

/** @type {Request['token']} */
const admin = { video: ADMIN };

module.exports = { ADMIN, admin, inBoth };
