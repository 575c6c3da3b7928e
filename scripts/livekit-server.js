'use strict';
// Starts real servers on loopback, on ports the system gives: LiveKit's, its mock of four regions, and Redis.
// CommonJS, because jest loads it inside its sandbox. `ensureServers` of setup.mjs builds the binaries.
const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const dgram = require('node:dgram');
const { existsSync } = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const LIVEKIT_VERSION = '1.13.5';
const binaryFolder = path.join(__dirname, '../.cache/bin');
const suffix = `${LIVEKIT_VERSION}${process.platform === 'win32' ? '.exe' : ''}`;
const serverBinary = path.join(binaryFolder, `livekit-server-${suffix}`);
const testServerBinary = path.join(binaryFolder, `livekit-test-server-${suffix}`);

const HOST = '127.0.0.1';
const READY_MS = 20_000;
const LOG_LIMIT = 1_000_000;

/**
 * @typedef {object} Started
 * @property {import('node:child_process').ChildProcess} child
 * @property {() => string} logs What it has printed, the last million characters.
 * @property {() => Promise<void>} stop Ends it, and waits until it has ended; may be called twice.
 */

/**
 * Starts a livekit-server and waits until it serves.
 * @param {object} [options]
 * @param {Record<string, any>} [options.config] Put over the defaults, as in LiveKit's configuration file; sections are merged.
 * @param {Record<string, string>} [options.keys] API keys and their secrets; default: a random pair.
 * @param {string} [options.redis] Address of the Redis that makes several servers a cluster.
 * @param {Record<string, string>} [options.env] Added to an environment that holds nothing but PATH and HOME.
 * @returns {Promise<Started & { url: string, apiUrl: string, apiKey: string, apiSecret: string, port: number }>}
 */
async function startServer({ config = {}, keys = randomKeys(), redis, env } = {}) {
  const [[apiKey, apiSecret]] = Object.entries(keys);
  return startOnFreePorts(async () => {
    const [port, tcpPort, udpPort] = [...(await freeTcpPorts(2)), await freeUdpPort()];
    const settings = mergeSections(
      {
        port,
        bind_addresses: [HOST],
        keys,
        ...(redis && { redis: { address: redis } }),
        rtc: {
          tcp_port: tcpPort,
          udp_port: udpPort,
          node_ip: HOST,
          use_external_ip: false,
          enable_loopback_candidate: true,
          // Only loopback candidates; and with no STUN server named, clients would ask a public one.
          interfaces: { includes: ['lo', 'lo0'] },
          stun_servers: [`${HOST}:${udpPort}`],
        },
      },
      config,
    );
    // The server reads YAML, of which JSON is a part.
    const started = launch(serverBinary, ['--config-body', JSON.stringify(settings)], env);
    await untilReady(started, () => answersHttp(port, (status) => status === 200));
    const address = `${HOST}:${port}`;
    return { ...started, url: `ws://${address}`, apiUrl: `http://${address}`, apiKey, apiSecret, port };
  });
}

/**
 * Starts LiveKit's mock: one port per region, the first is the primary.
 * @param {object} [options]
 * @param {number} [options.regions] How many.
 * @param {string} [options.advertiseHost] Base address, without the port, that `/settings/regions` tells.
 * @param {string} [options.apiSecret]
 * @param {string} [options.twirpPrefix]
 * @returns {Promise<Started & { url: string, apiUrl: string, apiKey: string, apiSecret: string, ports: number[] }>}
 */
async function startTestServer({ regions = 4, advertiseHost = `http://${HOST}`, apiSecret = randomSecret(), twirpPrefix } = {}) {
  return startOnFreePorts(async () => {
    const ports = await freeTcpPorts(regions);
    const flags = ['--ports', ports.join(), '--bind', HOST, '--advertise-host', advertiseHost, '--api-secret', apiSecret];
    if (twirpPrefix) flags.push('--twirp-prefix', twirpPrefix);
    const started = launch(testServerBinary, flags);
    await untilReady(started, async () => {
      const answers = await Promise.all(ports.map((port) => answersHttp(port, () => true)));
      return answers.every(Boolean);
    });
    const address = `${HOST}:${ports[0]}`;
    return { ...started, url: `ws://${address}`, apiUrl: `http://${address}`, apiKey: 'testkey', apiSecret, ports };
  });
}

/**
 * Starts a Redis that keeps nothing on disk.
 * @returns {Promise<Started & { address: string, port: number }>}
 */
async function startRedis() {
  return startOnFreePorts(async () => {
    const [port] = await freeTcpPorts(1);
    const flags = ['--bind', HOST, '--port', String(port), '--save', '', '--appendonly', 'no', '--dir', os.tmpdir()];
    const started = launch('redis-server', flags);
    await untilReady(started, () => answersPing(port));
    return { ...started, address: `${HOST}:${port}`, port };
  });
}

function randomKeys() {
  return { [`API${randomBytes(6).toString('hex')}`]: randomSecret() };
}

function randomSecret() {
  return randomBytes(24).toString('hex');
}

function mergeSections(defaults, config) {
  const merged = { ...defaults, ...config };
  for (const [name, value] of Object.entries(defaults)) {
    const isSection = typeof value === 'object' && !Array.isArray(value) && name !== 'keys';
    if (isSection && config[name]) merged[name] = { ...value, ...config[name] };
  }
  return merged;
}

/** Another program can take a port between our look and the server's start: then try with others. */
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

/** The children end with this process, however it ends. */
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

/** @returns {Started} */
function launch(program, args, env) {
  let command = [program, ...args];
  // Where Linux can do it, the kernel ends the child also when this process is killed.
  const setpriv = '/usr/bin/setpriv';
  if (existsSync(setpriv)) command = [setpriv, '--pdeathsig', 'KILL', ...command];
  const { PATH, HOME } = process.env;
  const child = spawn(command[0], command.slice(1), { env: { PATH, HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  endWithParent(child);
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
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
    // A second signal tells livekit-server not to wait for participants.
    const again = setTimeout(() => child.kill('SIGTERM'), 200);
    const last = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(again);
    clearTimeout(last);
  };
  return { child, logs: () => printed, stop };
}

async function untilReady({ child, logs, stop }, isReady) {
  const deadline = Date.now() + READY_MS;
  const program = path.basename(child.spawnfile === '/usr/bin/setpriv' ? child.spawnargs[3] : child.spawnfile);
  while (!(await isReady())) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
    if (hasEnded || Date.now() > deadline) {
      await stop();
      const what = hasEnded ? 'ended before it served' : `did not serve within ${READY_MS / 1000} s`;
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

function answersPing(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: HOST, port, timeout: 1_000 }, () => socket.write('PING\r\n'));
    const done = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (data) => done(data.toString().startsWith('+PONG')));
    socket.once('timeout', () => done(false));
    socket.once('error', () => done(false));
  });
}

/** All are held at once, so that they differ. */
async function freeTcpPorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = net.createServer().listen(0, HOST);
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

module.exports = { LIVEKIT_VERSION, binaryFolder, serverBinary, testServerBinary, startServer, startTestServer, startRedis };
