// CPU time and memory of a server's process while it forwards the media of `loadtest`, read from /proc.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { loadClient } from '../../test-support/go.mjs';

/** Timeout of the load client, in ms. Past it, it is killed. */
const LOAD_TIMEOUT_MS = 120_000;
/** Clock ticks per second in /proc/PID/stat. */
const TICKS_PER_SECOND = 100;

/**
 * @typedef {object} Cost
 * @property {number} cpu CPU seconds of the server per stream and second. A stream is a track that is sent to one subscriber.
 * @property {number} memory Resident MB.
 * @property {number} busy CPU seconds per second of server and client together.
 * @property {number} streams
 * @property {number} received Packets that all subscribers together received.
 * @property {number} expected Packets that publishers sent, times their subscribers.
 * @property {number} lost Gaps in the sequence numbers that subscribers received.
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
    timeout: LOAD_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const kill = () => client.kill('SIGKILL');
  process.once('exit', kill);
  const ended = once(client, 'close');
  const cpu = () => [child.pid, client.pid].map(cpuSeconds);
  let before;
  let cost;
  for await (const line of createInterface({ input: client.stdout })) {
    const { event, ...counts } = JSON.parse(line);
    if (event === 'begin') {
      before = cpu();
    } else {
      const [used, clients] = cpu().map((after, i) => after - before[i]);
      const { streams, seconds } = counts;
      cost = { cpu: used / streams / seconds, memory: residentMb(child.pid), busy: (used + clients) / seconds, ...counts };
    }
  }
  const [code, signal] = await ended;
  process.removeListener('exit', kill);
  if (code !== 0 || !cost) throw new Error(`the load ended with ${signal ?? `code ${code}`}`);
  return cost;
}

/** CPU seconds of all threads of a process, and of its children that have ended. */
function cpuSeconds(pid) {
  // The command's name, in parentheses, may contain spaces. Fields 14 to 17 are utime, stime, cutime and cstime.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

function residentMb(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}
