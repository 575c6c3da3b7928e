'use strict';

// Each process has an embedded engine of its own, and engines share no rooms. With `cluster`, PM2 or a forking dev server that goes
// unnoticed, because the second engine takes the next free port.

const DEFAULT_PORT = 7880;
const CODE = 'MARAVILLA_SEVERAL_ENGINES';
/** Maximum milliseconds to wait for a response from the server on the default port; past it there is no warning. */
const TIMEOUT_MS = 1000;

/** The address at which this machine reaches a server that listens on `host`. */
const reachedAt = (host) => ({ '0.0.0.0': '127.0.0.1', '::': '::1' })[host] ?? host;

/** Warns once in the process if the engine is not on the default port because an engine of another process is. */
function checkDefaultPort(port, host = '127.0.0.1') {
  if (port === DEFAULT_PORT) return;
  // Loaded before the response: it may arrive when a test environment of Jest is torn down and loads no modules.
  const threads = require('node:worker_threads');
  const request = require('node:http').get({ host: reachedAt(host), port: DEFAULT_PORT, path: '/', agent: false, timeout: TIMEOUT_MS });
  // The check must not keep the process alive.
  request.on('socket', (socket) => socket.unref());
  request.on('timeout', () => request.destroy());
  request.on('error', () => {});
  request.on('response', (response) => {
    response.destroy();
    if (String(response.headers.server).startsWith('maravilla-media/')) warnOnce(port, threads);
  });
}

function warnOnce(port, { getEnvironmentData, setEnvironmentData }) {
  if (getEnvironmentData(CODE)) return;
  setEnvironmentData(CODE, true);
  const message =
    `the embedded media engine listens on port ${port}, because an engine of another process has port ${DEFAULT_PORT}: ` +
    'the two share no rooms, so that participants may miss each other. Run the engine in one process only ' +
    '(MARAVILLA_MEDIA_PORT makes every further one fail), or use a LiveKit server';
  process.emitWarning(message, { type: 'MaravillaWarning', code: CODE });
}

module.exports = { checkDefaultPort, reachedAt };
