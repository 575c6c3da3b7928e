'use strict';

// A participant in a process of its own that publishes a picture. The process can be suspended: then nothing is sent, as if its network had gone.

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

/** Starts it, and waits until it publishes. @param {string} url @param {string} token @param {string} identity */
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
