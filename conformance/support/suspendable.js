'use strict';

// A participant in a process of its own that publishes video. Suspending the process stops all packets, as a network failure does.

const { fork } = require('node:child_process');
const { once } = require('node:events');

/** @param {string} url @param {string} token @param {string} identity */
async function publish(url, token, identity) {
  const { RtcClient } = require('./rtc-client.js');
  const client = new RtcClient(identity);
  await client.connect(url, token);
  await client.publishVideo();
  process.send?.('publishes');
}

/** Starts the process, and waits until it publishes. @param {string} url @param {string} token @param {string} identity */
async function startSuspendable(url, token, identity) {
  const child = fork(__filename, [url, token, identity]);
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const [message] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (message !== 'publishes') throw new Error(`${identity} does not publish`);
  return { suspend: () => child.kill('SIGSTOP'), resume: () => child.kill('SIGCONT'), end };
}

if (require.main === module) {
  const [url, token, identity] = process.argv.slice(2);
  publish(url, token, identity);
}

module.exports = { startSuspendable };
