'use strict';

// Datagrams in a stream: the length of each in two bytes, then its bytes.

const LENGTH_BYTES = 2;

/** @param {import('node:net').Socket} stream @param {Buffer} datagram */
function writeDatagram(stream, datagram) {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt16BE(datagram.length);
  stream.write(Buffer.concat([length, datagram]));
}

/** @param {import('node:net').Socket} stream @param {(datagram: Buffer) => void} take */
function readDatagrams(stream, take) {
  let rest = Buffer.alloc(0);
  stream.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= LENGTH_BYTES && rest.length >= LENGTH_BYTES + rest.readUInt16BE()) {
      const end = LENGTH_BYTES + rest.readUInt16BE();
      take(rest.subarray(LENGTH_BYTES, end));
      rest = rest.subarray(end);
    }
  });
}

module.exports = { readDatagrams, writeDatagram };
