'use strict';

// An app with the embedded engine in a network namespace of its own, as in a container. It is reachable only through the
// published ports, which a process on each side forwards over a Unix socket.

const { spawn } = require('node:child_process');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { readDatagrams, writeDatagram } = require('./datagrams.js');

const START_MS = 30_000;

/**
 * @typedef {{ protocol: 'tcp' | 'udp', port: number }} Published
 * @param {{ env: Record<string, string>, host: string, publish: Published[] }} how `env`: the whole environment of the app.
 */
async function startContainer({ env, host, publish }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'container-'));
  const socketPath = path.join(folder, 'socket');
  const command = ['unshare', '--map-root-user', '--net', process.execPath, path.join(__dirname, 'contained.js'), socketPath];
  const child = spawn(command[0], command.slice(1), { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const closing = [() => child.kill('SIGKILL'), () => fs.rmSync(folder, { recursive: true })];
  const stop = async () => {
    for (const close of closing) close();
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) await once(child, 'close');
  };
  try {
    await untilReady(child);
    for (const each of publish) closing.push(await forward[each.protocol](each.port, host, socketPath));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    /** A token of the app's generateToken. @param {string} room @param {string} identity @returns {Promise<{ url: string, token: string }>} */
    async mint(room, identity) {
      child.send({ room, identity });
      const [minted] = await once(child, 'message');
      return minted;
    },
    stop,
  };
}

/** @param {import('node:child_process').ChildProcess} child */
async function untilReady(child) {
  let printed = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => (printed += text));
  const signal = AbortSignal.timeout(START_MS);
  const ended = once(child, 'close', { signal }).then(([code]) => {
    throw new Error(`the app ended with ${code} in its network namespace, which needs root or unprivileged user namespaces, and the program "ip":\n${printed}`);
  });
  await Promise.race([once(child, 'message', { signal }), ended]);
}

const forward = {
  /** @param {number} port @param {string} host @param {string} socketPath */
  async tcp(port, host, socketPath) {
    const server = net.createServer((outer) => join(outer, enter(socketPath, 'tcp', port)));
    await once(server.listen(port, host), 'listening');
    return () => server.close();
  },

  /** Opens a stream for each source address. @param {number} port @param {string} host @param {string} socketPath */
  async udp(port, host, socketPath) {
    const socket = dgram.createSocket('udp4');
    /** @type {Map<string, net.Socket>} */
    const streams = new Map();
    socket.on('message', (datagram, { address, port: from }) => {
      const source = `${address} ${from}`;
      let stream = streams.get(source);
      if (stream === undefined) {
        stream = enter(socketPath, 'udp', port);
        streams.set(source, stream);
        readDatagrams(stream, (response) => socket.send(response, from, address));
      }
      writeDatagram(stream, datagram);
    });
    await once(socket.bind(port, host), 'listening');
    return () => {
      for (const stream of streams.values()) stream.destroy();
      socket.close();
    };
  },
};

/** A stream to a port in the namespace. @param {string} socketPath @param {'tcp' | 'udp'} protocol @param {number} port */
function enter(socketPath, protocol, port) {
  const stream = net.connect(socketPath);
  stream.on('error', () => {});
  stream.write(`${protocol} ${port}\n`);
  return stream;
}

/** @param {net.Socket} one @param {net.Socket} other */
function join(one, other) {
  one.on('error', () => other.destroy()).on('close', () => other.destroy());
  other.on('error', () => one.destroy()).on('close', () => one.destroy());
  one.pipe(other).pipe(one);
}

module.exports = { startContainer };
