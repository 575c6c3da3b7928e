'use strict';

// LiveKit's client for Node. It logs whatever happens, unless it takes itself to be in production.

const { NODE_ENV } = process.env;
process.env.NODE_ENV = 'production';
const rtc = require('@livekit/rtc-node');
process.env.NODE_ENV = NODE_ENV;

module.exports = rtc;
