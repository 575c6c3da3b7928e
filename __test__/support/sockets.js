'use strict';

// Sockets, threads and descriptors of the process on Linux. Child processes load this file too, so it cannot use jest.

const fs = require('node:fs');

/** The inodes of this process's sockets. */
function ownSockets() {
  const inodes = new Set();
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/self/fd/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // The descriptor that read the folder is closed by now.
    }
  }
  return inodes;
}

/** The ports on which this process listens, smallest first. */
function listening() {
  const own = ownSockets();
  const rows = ['tcp', 'tcp6'].flatMap((table) => fs.readFileSync(`/proc/self/net/${table}`, 'utf8').trim().split('\n').slice(1));
  const columns = rows.map((row) => row.trim().split(/\s+/));
  const ports = columns.filter(([, , , state, , , , , , inode]) => state === '0A' && own.has(inode)).map(([, local]) => parseInt(local.split(':')[1], 16));
  return ports.sort((a, b) => a - b);
}

const threads = () => fs.readdirSync('/proc/self/task').length;
const descriptors = () => fs.readdirSync('/proc/self/fd').length;

module.exports = { descriptors, listening, threads };
