// Runs one case with one peer in a process of its own: `node case.mjs <case> <peer>`, with the server in BENCH_SERVER. Prints JSON.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ROOMS } from './measure.mjs';
import { peers } from './peers.mjs';

const PARTICIPANT = { identity: 'user-4711', name: 'Ann', canPublish: true, canSubscribe: true, canPublishData: true };
const ROOM = 'huddle:design-team';

const cases = {
  /** µs per token, one at a time. */
  async tokenAlone(peer) {
    const each = (count) => repeat(count, () => peer.token(ROOM, PARTICIPANT));
    await each(20_000);
    return { value: (await timed(() => each(50_000))) / 50 };
  },

  /** µs per token, 500 in flight. */
  async tokenTogether(peer) {
    const rounds = (count) => repeat(count, () => Promise.all(Array.from({ length: 500 }, () => peer.token(ROOM, PARTICIPANT))));
    await rounds(40);
    return { value: (await timed(() => rounds(100))) / 50 };
  },

  /** µs per `createRoom` in this process, for a new and for a live room; medians of 100 rounds of 2,000. */
  async create(peer) {
    const names = Array.from({ length: 2000 }, (_, i) => `huddle:${i}`);
    const each = (work) => timed(async () => {
      for (const name of names) await work(name);
    });
    const [fresh, live] = [[], []];
    await repeat(100, async () => {
      fresh.push((await each(peer.create)) / 2);
      live.push((await each(peer.create)) / 2);
      await each(peer.remove);
    });
    return { value: median(fresh), again: median(live) };
  },

  /** ms per pair of create and delete, one at a time. */
  async pairAlone(peer) {
    const pairs = (count) => repeat(count, () => pair(peer, 'bench-alone'));
    await pairs(100);
    return { value: (await timed(() => pairs(400))) / 400 };
  },

  /** Pairs per second, and CPU time of this process per pair in ms, 32 in flight. */
  async pairTogether(peer) {
    const lanes = (count) => Promise.all(Array.from({ length: 32 }, (_, lane) => repeat(count, () => pair(peer, `bench-${lane}`))));
    await lanes(10);
    const before = process.cpuUsage();
    const ms = await timed(() => lanes(40));
    const { user, system } = process.cpuUsage(before);
    const count = 32 * 40;
    return { value: (count / ms) * 1000, cpu: (user + system) / 1000 / count };
  },

  /** ms to list all rooms, and the longest event-loop delay; medians of 7 calls after 7 warm-up calls. */
  async list(peer) {
    // An engine in this process starts without rooms.
    if ((await peer.list()).length === 0) await repeat(ROOMS, (i) => peer.create(`huddle:${i}`));
    await repeat(7, () => peer.list());
    const [durations, delays] = [[], []];
    let rooms;
    await repeat(7, async () => {
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      durations.push(
        await timed(async () => {
          rooms = await peer.list();
        }),
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
      delay.disable();
      delays.push(delay.max / 1e6);
    });
    return { value: median(durations), delay: median(delays), rooms: rooms.length };
  },

  /** 1,000 concurrent joins: each creates the room and mints a token. */
  async joins(peer) {
    const join = async (_, i) => {
      await peer.create('huddle:joins');
      await peer.token('huddle:joins', { ...PARTICIPANT, identity: `user-${i}` });
    };
    const value = await timed(() => Promise.all(Array.from({ length: 1000 }, join)));
    await peer.remove('huddle:joins');
    return { value };
  },

  /** Resident MB of an idle Node.js process. */
  async bare() {
    return { bare: process.memoryUsage.rss() / 1024 / 1024 };
  },

  /** Resident MB after a warm-up, after 1,000,000 tokens and after 20,000 room calls. */
  async memory(peer) {
    await repeat(50_000, () => peer.token(ROOM, PARTICIPANT));
    await repeat(500, () => pair(peer, 'bench-memory'));
    const warm = resident();
    await repeat(1_000_000, () => peer.token(ROOM, PARTICIPANT));
    const tokens = resident();
    await repeat(10_000, () => pair(peer, 'bench-memory'));
    return { warm, tokens, calls: resident() };
  },
};

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

function resident() {
  globalThis.gc();
  return process.memoryUsage.rss() / 1024 / 1024;
}

async function pair(peer, room) {
  await peer.create(room);
  await peer.remove(room);
}

async function repeat(count, work) {
  for (let i = 0; i < count; i += 1) await work(i);
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const [name, peer] = process.argv.slice(2);
const result = await cases[name](await peers[peer](JSON.parse(process.env.BENCH_SERVER)));
console.log(JSON.stringify(result));
process.exit();
