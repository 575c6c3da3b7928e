// Compares the embedded engine with livekit-server while they forward media.
import { startEngine } from '../../test-support/engine.mjs';
import { medians, ms, mb, times } from '../measure.mjs';
import { costOf } from './load.mjs';
import { joins, timings } from './timings.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const NOT_WORSE = 'at most 1x';
/** Minimum share of the expected packets that must arrive. The rest may be in flight when they are counted. */
const MIN_RECEIVED = 0.99;
/** Publishers send audio and video of 600 kbit/s. Two cores carry server and client. */
const LOADS = [
  { title: 'a call of 6', publishers: 6, viewers: 0, seconds: 10 },
  { title: '4 publish, 40 watch', publishers: 4, viewers: 40, seconds: 10 },
];

/** @param {import('../measure.mjs').Table} table @param {() => Promise<any>} startLiveKit */
export async function mediaRows(table, startLiveKit) {
  const start = { engine: startEngine, livekit: startLiveKit };
  await timingRows(table, start);
  for (const load of LOADS) await costRows(table, start, load);
}

async function timingRows(table, start) {
  const servers = { engine: await start.engine(), livekit: await start.livekit() };
  try {
    const [signalling, calls] = [await joins(servers), await timings(servers)];
    const engine = { ...signalling.engine, ...calls.engine };
    const livekit = { ...signalling.livekit, ...calls.livekit };
    const row = (title, key) => table.row(title, ms(engine[key]), ms(livekit[key]), times(engine[key], livekit[key]), NOT_WORSE);
    row('join request to open WebSocket', 'opened');
    row('open WebSocket to `JoinResponse`', 'joined');
    row('`JoinResponse` to connected media, in Chromium', 'connected');
    row('publish to first frame at a subscriber', 'published');
    row('late join to first frame', 'late');
    row('data message, round trip', 'data');
  } finally {
    await Promise.all(Object.values(servers).map((server) => server.stop()));
  }
}

async function costRows(table, start, { title, ...load }) {
  const costs = { engine: [], livekit: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const name of Object.keys(costs)) costs[name].push(await costOn(start[name], load));
  }
  const [engine, livekit] = [medians(costs.engine), medians(costs.livekit)];
  const row = (what, write, key, target) =>
    table.row(`${title}, ${engine.streams} streams: ${what}`, write(engine[key]), write(livekit[key]), times(engine[key], livekit[key]), target);
  row('CPU time per stream and second', (seconds) => ms(seconds * 1000), 'cpu', 'at most 1x, goal 0.7x');
  row('resident memory, Node.js included', mb, 'memory', NOT_WORSE);
  // Gaps in the sequence numbers, in the worst round. Sent minus received packets would include those in flight.
  const lost = (rounds) => `${Math.max(...rounds.map((round) => round.lost))} of ${rounds[0].expected}`;
  table.row(`${title}, ${engine.streams} streams: packets lost`, lost(costs.engine), lost(costs.livekit), '', '0');
}

/** Measures on a new server, so that rounds do not affect each other. */
async function costOn(start, load) {
  const server = await start();
  try {
    const cost = await costOf(server, load);
    // A stream that stopped has no gaps, so the total is checked too.
    if (cost.received < cost.expected * MIN_RECEIVED) throw new Error(`${cost.received} of ${cost.expected} packets have arrived`);
    return cost;
  } finally {
    await server.stop();
  }
}
