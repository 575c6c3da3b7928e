'use strict';

const shared = { rootDir: __dirname, roots: ['<rootDir>/__test__'], testEnvironment: 'node', transform: {} };

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
  ],
};
