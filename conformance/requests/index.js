'use strict';

/** Every request, with its expected response. @type {import('../support/server.js').Request[]} */
const requests = [
  ...require('./rooms.js'),
  ...require('./participants.js'),
  ...require('./bodies.js'),
  ...require('./routes.js'),
  ...require('./tokens.js'),
  ...require('./validate.js'),
];

module.exports = { requests };
