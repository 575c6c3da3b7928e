'use strict';
// Starts real servers on free ports of loopback: LiveKit's, its mock of four regions, and Redis.
// CommonJS, because jest loads it inside its sandbox. `ensureServers` of go.mjs builds the binaries.
const { randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { HOST, answersHttp, freeTcpPorts, freeUdpPort, launch, startOnFreePorts, untilReady } = require('./processes.js');

const moduleFolder = path.join(__dirname, 'livekit-server');
const [, LIVEKIT_VERSION] = /\/livekit-server v(\S+)/.exec(readFileSync(path.join(moduleFolder, 'go.mod'), 'utf8'));
const binaryFolder = path.join(__dirname, '../.cache/bin');
const suffix = `${LIVEKIT_VERSION}${process.platform === 'win32' ? '.exe' : ''}`;
const serverBinary = path.join(binaryFolder, `livekit-server-${suffix}`);
const testServerBinary = path.join(binaryFolder, `livekit-test-server-${suffix}`);

/** A `config` that offers all of the machine's addresses, because Firefox does not connect over loopback alone. */
const EVERYWHERE = { rtc: { interfaces: {}, node_ip: '' } };

/** @typedef {import('./processes.js').Started} Started */

/**
 * Starts a livekit-server and waits until it serves.
 * @param {object} [options]
 * @param {Record<string, any>} [options.config] Overrides the defaults, as in LiveKit's configuration file; sections are merged.
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
    // The server reads YAML, and JSON is valid YAML.
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
 * @param {string} [options.advertiseHost] Base address, without the port, in the response of `/settings/regions`.
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

module.exports = {
  EVERYWHERE,
  LIVEKIT_VERSION,
  binaryFolder,
  moduleFolder,
  serverBinary,
  testServerBinary,
  startServer,
  startTestServer,
  startRedis,
};
