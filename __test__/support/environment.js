'use strict';

// A developer's own settings must not steer the tests, nor tests that follow one another in one process.
const ours = /^(LIVEKIT|MARAVILLA)_|^(HTTPS?|ALL|NO)_PROXY$|^(NODE_EXTRA_CA_CERTS|NODE_OPTIONS|REQUEST_METHOD)$/i;

for (const name of Object.keys(process.env)) {
  if (ours.test(name)) delete process.env[name];
}

/** This process's environment without anything that the package reads. */
const cleanEnv = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));

module.exports = { cleanEnv };
