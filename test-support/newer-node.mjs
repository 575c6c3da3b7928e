// Newer Node.js versions, and the example apps on the frameworks' current majors, built in .cache with one of them.
// Run directly, it prints where everything is as JSON.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { copyApp, ensureBuilt, ensureInstalled, sourceOf } from './examples.mjs';
import processes from './processes.js';
import { cache, isExecutable, main, run } from '../scripts/shell.mjs';

/** @typedef {import('./example-server.js').Name} Name */

const NODES = { 22: '22.23.3', 24: '24.21.0' };
/** Runs what needs a newer Node.js than 20. */
export const NEWER_NODE = NODES[24];
/** @type {Name[]} */
const names = ['react-router', 'sveltekit'];

/** Returns the path of that Node.js, which npm installs. @param {string} version */
export async function ensureNode(version) {
  const system = process.platform === 'win32' ? 'win' : process.platform;
  const name = `node-${system}-${process.arch}`;
  const folder = path.join(cache, 'tools', `node-${version}`);
  const program = path.join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (!isExecutable(program)) {
    mkdirSync(folder, { recursive: true });
    const options = ['--no-save', '--no-audit', '--no-fund', '--prefer-offline'];
    await run(['npm', 'install', '--prefix', folder, ...options, `${name}@${version}`], { quiet: true });
  }
  return program;
}

/** The environment in which npm and every other script run on that Node.js. @param {string} node */
export const environmentOf = (node) => ({ PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) });

/**
 * A copy of the app, built to be served at that port: SvelteKit 3 reads ORIGIN at build time.
 * @param {Name} name
 * @param {string} node
 * @param {number} port
 */
async function ensureApp(name, node, port) {
  const folder = path.join(cache, 'newer-node', name);
  copyApp(folder, [sourceOf(name)]);
  await ensureInstalled(folder, `${name} on a newer Node.js`, environmentOf(node));
  await ensureBuilt(name, folder, { node, origin: `http://${processes.HOST}:${port}` });
  return { folder, port };
}

/** @returns {Promise<{ nodes: Record<string, string>, node: string, apps: Record<Name, { folder: string, port: number }> }>} */
async function ensureNewerNodes() {
  const nodes = {};
  for (const [major, version] of Object.entries(NODES)) nodes[major] = await ensureNode(version);
  const node = await ensureNode(NEWER_NODE);
  const ports = await processes.freeTcpPorts(names.length);
  const apps = /** @type {Record<Name, { folder: string, port: number }>} */ ({});
  for (const [index, name] of names.entries()) apps[name] = await ensureApp(name, node, ports[index]);
  return { nodes, node, apps };
}

await main(import.meta.url, async () => console.log(JSON.stringify(await ensureNewerNodes())));
