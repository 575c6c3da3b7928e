// What comes after: newer Node versions, and the example apps' sources on the frameworks' next majors. All of it is kept in .cache.
// Run by itself, it makes everything ready and prints where, as JSON.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, ensureInstalled, filesOf, folderOf } from './examples.mjs';
import processes from './processes.js';
import { cache, isExecutable, isMain, report, run } from './shell.mjs';

/** @typedef {import('./example-server.js').Name} Name */

const NODES = { 22: '22.23.3', 24: '24.21.0' };
/** The Node that the next majors ask for. */
export const NEXT_NODE = NODES[24];

/** Over what an app's own package.json names. @type {Record<Name, Record<string, string>>} */
const NEXT = {
  'react-router': {
    'react-router': '8.4.0',
    '@react-router/dev': '8.4.0',
    '@react-router/node': '8.4.0',
    '@react-router/serve': '8.4.0',
  },
  sveltekit: {
    '@sveltejs/kit': '3.2.0',
    '@sveltejs/adapter-node': '6.0.1',
    '@sveltejs/vite-plugin-svelte': '7.3.1',
    vite: '8.3.8',
  },
};

/** Gives the path of a Node of that version. npm brings it. @param {string} version */
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

/**
 * The app's sources on the next majors, with the few files that differ there, installed and built to be served at a port: SvelteKit 3 is told when it
 * is built. @param {Name} name @param {string} node @param {number} port
 */
async function ensureNext(name, node, port) {
  const folder = path.join(cache, 'next', name);
  mkdirSync(folder, { recursive: true });
  /** @type {Map<string, string>} Each file of the copy, and where it comes from. */
  const wanted = new Map();
  for (const source of [folderOf(name), path.join(folderOf('next'), name)]) {
    for (const file of filesOf(source)) wanted.set(path.relative(source, file), file);
  }
  wanted.delete('package-lock.json');
  for (const file of filesOf(folder)) if (!wanted.has(path.relative(folder, file))) rmSync(file);
  for (const [target, file] of wanted) cpSync(file, path.join(folder, target));
  const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  for (const list of [manifest.dependencies, manifest.devDependencies]) {
    for (const each of Object.keys(list)) list[each] = NEXT[name][each] ?? list[each];
  }
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  // npm runs on the Node that comes first.
  const env = { PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) };
  await ensureInstalled(folder, `${name} on the next majors`, env);
  await ensureBuilt(name, folder, { node, origin: `http://${processes.HOST}:${port}` });
  return { folder, port };
}

/** @returns {Promise<{ nodes: Record<string, string>, node: string, apps: Record<Name, { folder: string, port: number }> }>} */
export async function ensureNextMajors() {
  const nodes = {};
  for (const [major, version] of Object.entries(NODES)) nodes[major] = await ensureNode(version);
  const node = await ensureNode(NEXT_NODE);
  const names = /** @type {Name[]} */ (Object.keys(NEXT));
  const ports = await processes.freeTcpPorts(names.length);
  const apps = /** @type {Record<Name, { folder: string, port: number }>} */ ({});
  for (const [index, name] of names.entries()) apps[name] = await ensureNext(name, node, ports[index]);
  return { nodes, node, apps };
}

if (isMain(import.meta.url)) {
  try {
    console.log(JSON.stringify(await ensureNextMajors()));
  } catch (error) {
    process.exitCode = report(error);
  }
}
