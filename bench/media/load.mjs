// What a server's process costs while it forwards media: the load of `loadtest`, and what the kernel counted meanwhile.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { loadClient } from '../../test-support/go.mjs';

/** So that nothing hangs: joining, settling, counting and leaving take less. */
const MOST_MS = 120_000;
/** The kernel counts a process's time in hundredths of a second. */
const TICKS = 100;

/**
 * @typedef {object} Cost
 * @property {number} cpu CPU seconds of the server for each second of a stream, which is a track that somebody is sent.
 * @property {number} memory Resident MB.
 * @property {number} busy Of one core, what the server and the client had together.
 * @property {number} streams
 * @property {number} received Packets, by all subscribers together.
 * @property {number} expected How many were sent to the server, times how many were to get them.
 * @property {number} lost Packets that are missing in the numbers that subscribers saw.
 */

/**
 * @param {{ child: import('node:child_process').ChildProcess, url: string, apiKey: string, apiSecret: string }} server
 * @param {{ publishers: number, viewers: number, seconds: number }} load
 * @returns {Promise<Cost>}
 */
export async function costOf(server, load) {
  const { url, apiKey, apiSecret, child } = server;
  const options = { url, key: apiKey, secret: apiSecret, ...load };
  const client = spawn(loadClient, Object.entries(options).flatMap(([name, value]) => [`-${name}`, String(value)]), {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: MOST_MS,
    killSignal: 'SIGKILL',
  });
  const kill = () => client.kill('SIGKILL');
  process.once('exit', kill);
  const ended = once(client, 'close');
  const cpu = () => [child.pid, client.pid].map(cpuSeconds);
  let before;
  let cost;
  for await (const line of createInterface({ input: client.stdout })) {
    const { event, ...told } = JSON.parse(line);
    if (event === 'begin') {
      before = cpu();
    } else {
      const [used, clients] = cpu().map((after, i) => after - before[i]);
      const { streams, seconds } = told;
      cost = { cpu: used / streams / seconds, memory: residentMb(child.pid), busy: (used + clients) / seconds, ...told };
    }
  }
  const [code, signal] = await ended;
  process.removeListener('exit', kill);
  if (code !== 0 || !cost) throw new Error(`the load ended with ${signal ?? `code ${code}`}`);
  return cost;
}

/** Of all its threads, and of the children that have ended. */
function cpuSeconds(pid) {
  // The name, in brackets, may hold anything; utime, stime, cutime and cstime are the 14th field and the next ones.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS;
}

function residentMb(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}
