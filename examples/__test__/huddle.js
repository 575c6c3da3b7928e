'use strict';

// Tests of both apps. Each app has a test file, so that two run at once. The apps share the code of a call, so all stories of a call run once
// on each app and once on each server; the other pairs run one story.

const { openBrowsers, providers } = require('./support/use-app.js');
const { describeBuild } = require('./stories/build.js');
const { describeCalls } = require('./stories/calls.js');
const { describeDevServer } = require('./stories/dev-server.js');
const { describeAccessibility } = require('./stories/accessibility.js');
const { describeUnconfigured } = require('./stories/unconfigured.js');
const { describeRoutes } = require('./stories/routes.js');
const { describeStart } = require('./stories/start.js');

/** The server on which an app runs all stories of a call. @type {Record<string, keyof typeof providers>} */
const FULL = { 'react-router': 'the embedded engine', sveltekit: 'livekit-server' };

/** @param {import('../../test-support/example-server.js').Name} name */
function describeHuddle(name) {
  const browsers = openBrowsers();
  const all = /** @type {(keyof typeof providers)[]} */ (Object.keys(providers));
  describe.each(all)(`${name}, rooms on %s`, (provider) => describeCalls(browsers, name, provider, provider === FULL[name]));
  describe(`${name}, accessibility`, () => describeAccessibility(browsers, name));
  describe(`${name}, routes`, () => describeRoutes(browsers, name));
  describe(`${name}, without media`, () => describeUnconfigured(browsers, name));
  describe(`${name}, build`, () => describeBuild(name));
  describe(`${name}, dev server`, () => describeDevServer(browsers, name));
  describe(`${name}, npm start`, () => describeStart(browsers, name));
}

module.exports = { describeHuddle };
