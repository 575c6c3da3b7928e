'use strict';

// The app in the container, configured only by its environment, and the forwarder of the published ports.

const { execFileSync } = require('node:child_process');
const dgram = require('node:dgram');
const net = require('node:net');
const { getPlatform } = require('../../../index.js');
const { readDatagrams, writeDatagram } = require('./datagrams.js');

/** The container's own address, which is unreachable from outside. */
const ADDRESS = '10.88.0.2';
const MAX_HEAD_BYTES = 32;

/** @param {string} protocol @param {number} port @param {net.Socket} stream */
function connect(protocol, port, stream) {
  if (protocol === 'tcp') {
    const socket = net.connect(port, ADDRESS);
    socket.on('error', () => stream.destroy()).on('close', () => stream.destroy());
    stream.on('close', () => socket.destroy());
    stream.pipe(socket).pipe(stream);
    return;
  }
  const socket = dgram.createSocket('udp4');
  // Nothing listens on that port: the datagram is dropped.
  socket.on('error', () => {});
  socket.on('message', (datagram) => writeDatagram(stream, datagram));
  readDatagrams(stream, (datagram) => socket.send(datagram, port, ADDRESS));
  stream.on('close', () => socket.close());
}

/** The first line of a stream is its destination. @param {net.Socket} stream */
function accept(stream) {
  stream.on('error', () => {});
  const read = () => {
    /** @type {string} */
    let line = '';
    while (line.length < MAX_HEAD_BYTES) {
      const byte = stream.read(1);
      if (byte === null) return stream.once('readable', read);
      if (byte[0] === 10) break;
      line += String.fromCharCode(byte[0]);
    }
    const [protocol, port] = line.split(' ');
    connect(protocol, Number(port), stream);
  };
  read();
}

async function main() {
  for (const command of ['link set lo up', `addr add ${ADDRESS}/32 dev lo`]) execFileSync('ip', command.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] });
  const { media } = getPlatform();
  if (media === undefined) throw new Error('media is not configured');
  // Starts the engine.
  await media.mediaUrl();
  net.createServer(accept).listen(process.argv[2], () => process.send?.('ready'));
  process.on('message', async ({ room, identity }) => process.send?.(await media.generateToken(room, { identity, name: identity })));
  process.on('disconnect', () => process.exit());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
