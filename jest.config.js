'use strict';

const shared = { rootDir: __dirname, roots: ['<rootDir>/__test__'], testEnvironment: 'node', transform: {} };

/** Black box, against the server that LIVEKIT_URL names: it runs only where it is asked for. `npm run conformance` starts servers for it. */
const conformance = {
  ...shared,
  displayName: 'conformance',
  roots: ['<rootDir>/conformance'],
  testMatch: ['<rootDir>/conformance/**/*.test.js'],
};

const isAskedFor = process.argv.slice(2).some((argument) => argument.includes('conformance'));

/** Files right in __test__ need the addon alone; those in __test__/server start real servers. */
module.exports = {
  maxWorkers: 2,
  testTimeout: 30_000,
  projects: [
    { ...shared, displayName: 'fast', testMatch: ['<rootDir>/__test__/*.test.js'] },
    {
      ...shared,
      displayName: 'server',
      testMatch: ['<rootDir>/__test__/server/**/*.test.js'],
      globalSetup: '<rootDir>/scripts/jest-server-setup.mjs',
    },
    ...(isAskedFor ? [conformance] : []),
  ],
};
