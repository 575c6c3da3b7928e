// npm run bench: compares this package with livekit-server-sdk and hand-written code. Each figure is the median of several rounds, in which the
// peers take turns. `--write` writes the tables into docs/benchmarks.md; `--only media` measures only the media rows.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import livekit from '../test-support/livekit-server.js';
import { ensureAddon, ensurePrograms } from '../scripts/setup.mjs';
import { ensureLoadClient, ensureServers } from '../test-support/go.mjs';
import { SERVERS, engineTable, memoryRow } from './engine.mjs';
import { ROOMS, Table, measure, ms, rate, times, us } from './measure.mjs';
import { mediaRows } from './media/rows.mjs';

const root = path.resolve(fileURLToPath(import.meta.url), '../..');

/** Returns the number of requests that `work` sends to the server. */
async function counted(server, work) {
  let requests = 0;
  const proxy = http.createServer((request, response) => {
    requests += 1;
    const options = { method: request.method, headers: request.headers };
    const upstream = http.request(server.apiUrl + request.url, options, (reply) => {
      response.writeHead(reply.statusCode, reply.headers);
      reply.pipe(response);
    });
    request.pipe(upstream);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address();
  await work({ ...server, url: `ws://127.0.0.1:${port}`, apiUrl: `http://127.0.0.1:${port}` });
  proxy.closeAllConnections();
  proxy.close();
  return requests;
}

async function fill(server) {
  const { createPlatform } = (await import('../index.js')).default;
  const { media } = createPlatform(server);
  const names = Array.from({ length: ROOMS }, (_, i) => `huddle:${i}`);
  await Promise.all(names.map((name) => media.createRoom(name, { emptyTimeoutSecs: 3600 }, { timeoutMs: 120_000 })));
}

const size = (folder, except) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== except)
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0);

/** Bytes of this package in a user's node_modules on one platform: the main package and the addon's. */
function installedBytes() {
  const { files } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const of = (name) => {
    const file = path.join(root, name);
    return statSync(file).isDirectory() ? size(file) : statSync(file).size;
  };
  const addon = 'platform.linux-x64-gnu.node';
  const beside = size(path.join(root, 'npm/linux-x64-gnu'), addon);
  return [...files, 'README.md', 'package.json', addon].map(of).reduce((a, b) => a + b) + beside;
}

/** @param {{ url: string, apiUrl: string, apiKey: string, apiSecret: string }} at A server. {@link ROOMS} rooms are created on it, and stay. */
async function packageTable(at) {
  const table = new Table(['Work', 'this package', 'livekit-server-sdk', 'hand-written', 'ratio']);
  const row = table.row.bind(table);
  const all = ['ours', 'sdk', 'hand'];
  const two = ['ours', 'sdk'];
  for (const [name, title] of [['tokenAlone', 'one at a time'], ['tokenTogether', '500 in flight']]) {
    const { ours, sdk, hand } = await measure('case.mjs', all, at, { args: [name] });
    const ratio = `${times(ours.value, sdk.value)} the SDK, ${times(ours.value, hand.value)} hand-written`;
    row(`\`generateToken\`, ${title}`, us(ours.value), us(sdk.value), us(hand.value), ratio, 'at most 0.125x, 0.5x');
  }
  const start = await measure('start.mjs', two, at);
  row('import and first token, in a new process', ms(start.ours.value), ms(start.sdk.value), '', times(start.ours.value, start.sdk.value), 'at most 0.125x');
  row('import alone, after another CommonJS module', ms(start.ours.import), ms(start.sdk.import), '', '', 'at most 2 ms');
  const alone = await measure('case.mjs', all, at, { args: ['pairAlone'] });
  const aloneRatio = `${times(alone.ours.value, alone.sdk.value)} the SDK, ${times(alone.ours.value, alone.hand.value)} hand-written`;
  row('create + delete, one at a time', ms(alone.ours.value), ms(alone.sdk.value), ms(alone.hand.value), aloneRatio, 'at most 1.15x hand-written');
  const together = await measure('case.mjs', two, at, { args: ['pairTogether'] });
  row('create + delete, 32 in flight', rate(together.ours.value), rate(together.sdk.value), '', times(together.ours.value, together.sdk.value), 'at least 1.5x');
  row('create + delete, 32 in flight: CPU time per pair', ms(together.ours.cpu), ms(together.sdk.cpu), '', times(together.ours.cpu, together.sdk.cpu), 'at most 0.25x');
  const joins = {};
  for (const peer of two) joins[peer] = await counted(at, (through) => measure('case.mjs', [peer], through, { rounds: 1, args: ['joins'] }));
  // One request is the deletion at the end.
  row('1,000 concurrent joins of one room: requests', joins.ours - 1, joins.sdk - 1, '', '', '1');
  const memory = (await measure('case.mjs', ['ours'], at, { rounds: 1, args: ['memory'] })).ours;
  const mb = `${memory.warm.toFixed(0)} MB, then ${memory.tokens.toFixed(0)}, then ${memory.calls.toFixed(0)} MB`;
  row('resident memory: warm, after 1,000,000 tokens, after 20,000 room calls', mb, '', '', '', 'flat');
  await fill(at);
  const list = await measure('case.mjs', two, at, { args: ['list'] });
  if (list.ours.rooms !== ROOMS || list.sdk.rooms !== ROOMS) throw new Error(`listed ${list.ours.rooms} and ${list.sdk.rooms} rooms`);
  row('`listRooms`, 10,000 rooms', ms(list.ours.value), ms(list.sdk.value), '', times(list.ours.value, list.sdk.value), 'at most 0.2x');
  row('`listRooms`, 10,000 rooms: longest event-loop delay', ms(list.ours.delay), ms(list.sdk.delay), '', times(list.ours.delay, list.sdk.delay), 'at most 0.2x');
  row('installed size for one platform', `${(installedBytes() / 1e6).toFixed(1)} MB`, `${(size(path.join(root, 'node_modules/livekit-server-sdk')) / 1e6).toFixed(1)} MB and its dependencies`, '', '', 'at most 14 MB');
  return table;
}

async function allTables() {
  const server = await startServer();
  try {
    const { url, apiUrl, apiKey, apiSecret } = server;
    const at = { url, apiUrl, apiKey, apiSecret };
    const tables = { bench: await packageTable(at), 'bench:engine': await engineTable(at) };
    await memoryRow(tables['bench:engine'], startServer);
    return tables;
  } finally {
    await server.stop();
  }
}

const machine = () => `${os.availableParallelism()} cores of ${os.cpus()[0].model}, ${os.type()} ${os.release()}, Node.js ${process.versions.node}.`;
const startServer = () => livekit.startServer({ config: { logging: { level: 'error' } } });
const isMediaOnly = process.argv[process.argv.indexOf('--only') + 1] === 'media';
await ensurePrograms(['redis-server', 'chromium-headless-shell']);
await ensureServers();
await ensureLoadClient();
await ensureAddon();
const tables = isMediaOnly ? { 'bench:engine': new Table(SERVERS) } : await allTables();
await mediaRows(tables['bench:engine'], startServer);

if (process.argv.includes('--write') && !isMediaOnly) {
  const file = path.join(root, 'docs/benchmarks.md');
  let text = readFileSync(file, 'utf8');
  for (const [name, rows] of Object.entries({ 'bench:machine': machine(), ...tables })) {
    const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
    text = `${text.split(begin)[0]}${begin}\n${rows}\n${end}${text.split(end)[1]}`;
  }
  writeFileSync(file, text);
}
process.exit();
