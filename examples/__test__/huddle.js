'use strict';

// What both apps do, as one who uses them sees it. Each app has a test file of its own, so that two run at once.

const { openBrowsers, providers } = require('./support/house.js');
const { describeBuild } = require('./stories/build.js');
const { describeCalls } = require('./stories/calls.js');
const { describeDevServer } = require('./stories/dev-server.js');
const { describeLooks } = require('./stories/looks.js');
const { describeOffGate } = require('./stories/off-gate.js');
const { describeRoutes } = require('./stories/routes.js');
const { describeStart } = require('./stories/start.js');

/** @param {import('../../test-support/example-server.js').Name} name */
function describeHuddle(name) {
  const browsers = openBrowsers();
  const everywhere = /** @type {(keyof typeof providers)[]} */ (Object.keys(providers));
  describe.each(everywhere)(`${name}, rooms on %s`, (provider) => describeCalls(browsers, name, provider));
  describe(`${name}, to look at`, () => describeLooks(browsers, name));
  describe(`${name}, its routes`, () => describeRoutes(browsers, name));
  describe(`${name}, without a media server`, () => describeOffGate(browsers, name));
  describe(`${name}, its build`, () => describeBuild(name));
  describe(`${name}, its dev server`, () => describeDevServer(browsers, name));
  describe(`${name}, at first`, () => describeStart(browsers, name));
}

module.exports = { describeHuddle };
