'use strict';

// Variables of the developer's environment and of earlier tests must not affect a test.
const ours = /^(LIVEKIT|MARAVILLA)_|^(HTTPS?|ALL|NO)_PROXY$|^(NODE_EXTRA_CA_CERTS|NODE_OPTIONS|REQUEST_METHOD)$/i;

for (const name of Object.keys(process.env)) {
  if (ours.test(name)) delete process.env[name];
}

/** The environment without variables that the package reads. */
const cleanEnv = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));

module.exports = { cleanEnv };
