'use strict';

// LiveKit's client for Node: the installed one, or the package that RTC_NODE names. It logs every event unless NODE_ENV is production.

const { NODE_ENV } = process.env;
process.env.NODE_ENV = 'production';
const rtc = require(process.env.RTC_NODE ?? '@livekit/rtc-node');
process.env.NODE_ENV = NODE_ENV;

module.exports = rtc;
