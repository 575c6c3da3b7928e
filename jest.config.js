'use strict';

const shared = { rootDir: __dirname, roots: ['<rootDir>/__test__'], testEnvironment: 'node', transform: {} };

/** Black box, on the server that LIVEKIT_URL names. Not part of a plain `jest` run; test-support/conformance.mjs starts servers for it. */
const conformance = {
  ...shared,
  displayName: 'conformance',
  roots: ['<rootDir>/conformance'],
  testMatch: ['<rootDir>/conformance/**/*.test.js'],
  globalSetup: '<rootDir>/test-support/jest-browser-setup.mjs',
  globalTeardown: '<rootDir>/test-support/jest-browser-teardown.mjs',
};

/** The example apps in browsers: it takes minutes. */
const examples = {
  ...shared,
  displayName: 'examples',
  roots: ['<rootDir>/examples/__test__'],
  testMatch: ['<rootDir>/examples/__test__/**/*.test.js'],
  globalSetup: '<rootDir>/test-support/jest-examples-setup.mjs',
  globalTeardown: '<rootDir>/test-support/jest-browser-teardown.mjs',
};

/** The packed package in frameworks, bundlers and other runtimes. Not part of a plain `jest` run, because it takes minutes. */
const frameworks = { ...shared, displayName: 'frameworks', testMatch: ['<rootDir>/__test__/frameworks/*.test.js'] };

/** Released LiveKit clients on the embedded engine. Not part of a plain `jest` run, because it installs them. */
const clients = { ...shared, displayName: 'clients', testMatch: ['<rootDir>/__test__/clients/*.test.js'] };

/** The packed package on targets other than this machine's. Not part of a plain `jest` run, because it builds their addons. */
const targets = { ...shared, displayName: 'targets', testMatch: ['<rootDir>/__test__/targets/*.test.js'] };

const isAskedFor = ({ displayName }) => process.argv.slice(2).some((argument) => argument.includes(displayName));

const NAMES = new Set(['fast', 'server', 'conformance', 'examples', 'frameworks', 'clients', 'targets']);

/** Jest takes a path that follows `--selectProjects` for a project's name, and then runs everything. @param {string[]} args */
function checkSelected(args) {
  const values = args.slice(args.indexOf('--selectProjects') + 1);
  const end = values.findIndex((value) => value.startsWith('-'));
  const unknown = values.slice(0, end < 0 ? values.length : end).filter((value) => !NAMES.has(value));
  if (unknown.length > 0) throw new Error(`there is no project ${unknown.join(', ')}: leave --selectProjects out, or put paths before it`);
}
if (process.argv.includes('--selectProjects')) checkSelected(process.argv);

/** Files right in __test__ need the addon alone; those in __test__/server start real servers. */
module.exports = {
  maxWorkers: 2,
  testTimeout: 60_000,
  projects: [
    { ...shared, displayName: 'fast', testMatch: ['<rootDir>/__test__/*.test.js'] },
    {
      ...shared,
      displayName: 'server',
      testMatch: ['<rootDir>/__test__/server/**/*.test.js'],
      globalSetup: '<rootDir>/test-support/jest-server-setup.mjs',
    },
    ...[conformance, examples, frameworks, clients, targets].filter(isAskedFor),
  ],
};
