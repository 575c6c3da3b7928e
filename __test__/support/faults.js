'use strict';

// For tests of failing servers: failures that are searched for secrets, and calls in child processes.

const { once } = require('node:events');
const net = require('node:net');
const { inspect } = require('node:util');
const { resultOf } = require('./child.js');
const failures = require('./failure.js');
const { apiKey, apiSecret } = require('./media.js');

/** The secret, and the first letters of every token. */
const SECRETS = [apiSecret, 'eyJ'];

/** All texts that an app can get from an error. */
function textsOf(error) {
  const texts = [String(error), error.message, error.stack, JSON.stringify(error), JSON.stringify({ ...error })];
  for (let cause = error; cause !== undefined && cause !== null; cause = cause.cause) {
    texts.push(String(cause?.stack), inspect(cause, { depth: Infinity, showHidden: true, getters: true }));
  }
  return texts;
}

/**
 * The MediaError that a promise rejects with. It must not contain the secret or a token.
 * @param {Promise<unknown>} promise
 */
async function failureOf(promise) {
  const error = await failures.failureOf(promise);
  for (const text of textsOf(error)) for (const secret of SECRETS) expect(text ?? '').not.toContain(secret);
  return error;
}

/** A port that was free a moment ago. */
async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** The outcome of `run`, and how long it took. */
async function timed(run) {
  const started = performance.now();
  const outcome = await run();
  return { outcome, tookMs: performance.now() - started };
}

/** Calls a method in a process of its own: its result or failure. */
function callInChild(url, { env, method = 'createRoom', args = ['room'], options = {} }) {
  const given = JSON.stringify({ url, apiKey, apiSecret, timeoutMs: 4000, ...options });
  return resultOf(
    `const { media } = require(entry).createPlatform(${given});
    media.${method}(...${JSON.stringify(args)}).then(
      (result) => console.log(JSON.stringify({ result: result ?? null })),
      ({ code, message, retryable }) => console.log(JSON.stringify({ code, message, retryable })),
    );`,
    { env },
  );
}

module.exports = { SECRETS, callInChild, failureOf, freePort, timed };
