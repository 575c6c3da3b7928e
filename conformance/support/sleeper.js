'use strict';

// A participant in its own process that publishes video. Suspending the process stops all packets, like a network failure.

const { fork } = require('node:child_process');
const { once } = require('node:events');

/** @param {string} url @param {string} token @param {string} identity */
async function publish(url, token, identity) {
  const { Caller } = require('./caller.js');
  const caller = new Caller(identity);
  await caller.connect(url, token);
  await caller.shows();
  process.send?.('publishes');
}

/** Starts the process and waits until it publishes. @param {string} url @param {string} token @param {string} identity */
async function startSleeper(url, token, identity) {
  const child = fork(__filename, [url, token, identity]);
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const [message] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (message !== 'publishes') throw new Error(`${identity} does not publish`);
  return { sleeps: () => child.kill('SIGSTOP'), wakes: () => child.kill('SIGCONT'), end };
}

if (require.main === module) {
  const [url, token, identity] = process.argv.slice(2);
  publish(url, token, identity);
}

module.exports = { startSleeper };
