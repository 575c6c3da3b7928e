'use strict';
// Starts child processes that end with this process, and finds free ports. CommonJS, because jest loads it inside its sandbox.
const { spawn } = require('node:child_process');
const dgram = require('node:dgram');
const { existsSync } = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');

const HOST = '127.0.0.1';
const READY_MS = 20_000;
const LOG_LIMIT = 1_000_000;

/**
 * @typedef {object} Started
 * @property {import('node:child_process').ChildProcess} child
 * @property {() => string} logs Its output, the last LOG_LIMIT characters.
 * @property {() => Promise<void>} stop Ends it, and waits until it has ended; may be called twice.
 */

/** Retries with other ports if another program has taken one before the server bound it. */
async function startOnFreePorts(start) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 3 || !/address already in use/i.test(error.message)) throw error;
    }
  }
}

const running = new Set();
let watching = false;

/** Kills the children when this process exits, also on a signal. */
function endWithParent(child) {
  running.add(child);
  child.once('exit', () => running.delete(child));
  if (watching) return;
  watching = true;
  const endAll = () => {
    for (const started of running) started.kill('SIGKILL');
  };
  process.once('exit', endAll);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      endAll();
      process.kill(process.pid, signal);
    });
  }
}

/**
 * Starts a program, with an environment that holds nothing but PATH, HOME and what is given.
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 * @param {{ cwd?: string, isShown?: boolean }} [options] `isShown`: it has this process's terminal, and `logs()` stays empty.
 * @returns {Started}
 */
function launch(program, args, env, { cwd, isShown = false } = {}) {
  let command = [program, ...args];
  // With setpriv, Linux kills the child also when this process is killed.
  const setpriv = '/usr/bin/setpriv';
  if (existsSync(setpriv)) command = [setpriv, '--pdeathsig', 'KILL', ...command];
  const { PATH, HOME } = process.env;
  const child = spawn(command[0], command.slice(1), { env: { PATH, HOME, ...env }, cwd, stdio: isShown ? 'inherit' : ['ignore', 'pipe', 'pipe'] });
  endWithParent(child);
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      printed = (printed + text).slice(-LOG_LIMIT);
    });
  }
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
    child.once('error', (error) => {
      printed += `${error.message}\n`;
      resolve();
    });
  });
  const stop = async () => {
    child.kill('SIGTERM');
    // On a second signal livekit-server does not wait for participants.
    const again = setTimeout(() => child.kill('SIGTERM'), 200);
    const last = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(again);
    clearTimeout(last);
  };
  return { child, logs: () => printed, stop };
}

/**
 * Waits until it is ready; after the timeout it stops the process and rejects with its output.
 * @param {Started} started
 * @param {() => Promise<boolean>} isReady
 * @param {number} [withinMs]
 */
async function untilReady({ child, logs, stop }, isReady, withinMs = READY_MS) {
  const deadline = Date.now() + withinMs;
  const program = path.basename(child.spawnfile === '/usr/bin/setpriv' ? child.spawnargs[3] : child.spawnfile);
  while (!(await isReady())) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
    if (hasEnded || Date.now() > deadline) {
      await stop();
      const what = hasEnded ? 'ended before it served' : `did not serve within ${withinMs / 1000} s`;
      throw new Error(`${program} ${what}; it printed:\n${logs().slice(-4_000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function answersHttp(port, isGood) {
  return new Promise((resolve) => {
    const request = http.get({ host: HOST, port, agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(isGood(response.statusCode));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

/**
 * Ports that are free on each of the machine's addresses: livekit-server takes its port for media on all of them, and thousands
 * that are free on loopback are not free elsewhere for a minute after its tests. All are held at once, so that they differ.
 */
async function freeTcpPorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer().listen(0);
      await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
      return server;
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function freeUdpPort() {
  const socket = dgram.createSocket('udp4');
  await new Promise((resolve, reject) => socket.once('error', reject).bind(0, HOST, resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

module.exports = { HOST, answersHttp, freeTcpPorts, freeUdpPort, launch, startOnFreePorts, untilReady };
