// Compares the embedded engine with livekit-server in one run.
import { readFileSync } from 'node:fs';
import { startEngine } from '../test-support/engine.mjs';
import { LIVEKIT_VERSION } from '../test-support/livekit-server.js';
import { ROOMS, Table, contest, mb, ms, rate, times, us } from './measure.mjs';
import { peers } from './peers.mjs';

/** Columns of the table. */
export const SERVERS = ['Work', 'embedded engine', `livekit-server ${LIVEKIT_VERSION}`, 'ratio'];

/** @param {object} livekit A server that has {@link ROOMS} rooms. */
export async function engineTable(livekit) {
  const table = new Table(SERVERS);
  const both = { engine: { peer: 'embedded' }, livekit: { peer: 'ours', server: livekit } };

  const first = await contest('first-room.mjs', { engine: { peer: 'embedded' }, livekit: { peer: 'livekit' } });
  table.row('server start to first room', ms(first.engine.value), ms(first.livekit.value), times(first.engine.value, first.livekit.value), 'under 50 ms');

  const create = (await contest('case.mjs', { engine: both.engine }, { args: ['create'] })).engine;
  const alone = (await contest('case.mjs', { livekit: both.livekit }, { args: ['pairAlone'], rounds: 3 })).livekit;
  table.row('`createRoom`, new room', us(create.value), `${ms(alone.value)} with its \`deleteRoom\``, '', 'at most 2 µs');
  table.row('`createRoom`, live room', us(create.again), '', '', 'at most 2 µs');

  const list = await contest('case.mjs', both, { args: ['list'] });
  if (list.engine.rooms !== ROOMS || list.livekit.rooms !== ROOMS) throw new Error(`listed ${list.engine.rooms} and ${list.livekit.rooms} rooms`);
  table.row('`listRooms`, 10,000 rooms', ms(list.engine.value), ms(list.livekit.value), times(list.engine.value, list.livekit.value), 'at most 0.1x');

  const engine = await startEngine();
  try {
    const { url, apiUrl, apiKey, apiSecret } = engine;
    const http = { engine: { peer: 'sockets', server: { url, apiUrl, apiKey, apiSecret } }, livekit: { peer: 'sockets', server: livekit } };
    const pairs = await contest('case.mjs', http, { args: ['pairTogether'] });
    const [ours, theirs] = [pairs.engine.value, pairs.livekit.value];
    table.row('create + delete over HTTP, one client, 32 in flight', rate(ours), rate(theirs), times(ours, theirs), 'at least 3x');
  } finally {
    await engine.stop();
  }
  return table;
}

/** Adds rows with the resident memory of each server, at rest and for {@link ROOMS} rooms. */
export async function memoryRow(table, startLiveKit) {
  const engine = await memoryOf(startEngine);
  const livekit = await memoryOf(startLiveKit);
  // The memory of an idle Node.js process is subtracted.
  const { bare } = (await contest('case.mjs', { bare: { peer: 'none' } }, { args: ['bare'] })).bare;
  table.row('resident memory at rest, without Node.js itself', mb(engine.rest - bare), mb(livekit.rest), times(engine.rest - bare, livekit.rest), '');
  table.row('resident memory for 10,000 rooms', mb(engine.rooms), mb(livekit.rooms), times(engine.rooms, livekit.rooms), '');
}

async function memoryOf(start) {
  const server = await start();
  try {
    const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]) / 1024;
    const rest = resident();
    const { create } = await peers.hand(server);
    for (let i = 0; i < ROOMS; i += 50) await Promise.all(Array.from({ length: 50 }, (_, lane) => create(`huddle:${i + lane}`)));
    return { rest, rooms: resident() - rest };
  } finally {
    await server.stop();
  }
}
