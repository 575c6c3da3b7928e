// Installs and builds the example apps as a user does, from the packed tarballs, and only where something has changed.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, watch, writeFileSync } from 'node:fs';
import path from 'node:path';
import examples from './example-server.js';
import { dist, pack } from '../scripts/pack.mjs';
import { ensureAddon } from '../scripts/setup.mjs';
import { root, run, say } from '../scripts/shell.mjs';

/** @typedef {import('./example-server.js').Name} Name */

export const { apps, folderOf, sourceOf, startExample } = examples;

/** Folders that tools generate in an app's folder. */
const GENERATED = new Set(['node_modules', 'build', '.react-router', '.svelte-kit']);
/** SvelteKit 2 needs no declarations of variables. */
const NOT_FOR_OLD_NODE = ['src/env.ts'];
const PACKED = ['package.json', 'index.js', 'index.d.ts', 'edge.js', 'otel.js', 'otel.d.ts', 'vite.js', 'vite.d.ts', 'binding.js', 'binding.d.ts', 'bin', 'facade'];

/**
 * Secrets in the environment of a build: none of them may end up in the files that browsers get.
 * @type {Record<string, string>}
 */
export const decoySecrets = JSON.parse(readFileSync(path.join(root, 'examples/__test__/support/decoy-secrets.json'), 'utf8'));

/** Every file in a folder except generated ones. @param {string} folder @returns {string[]} */
export function filesOf(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (GENERATED.has(entry.name)) return [];
    const file = path.join(folder, entry.name);
    return entry.isDirectory() ? filesOf(file) : [file];
  });
}

/**
 * Makes `target` a copy of the files in `sources`; of files with the same path, the last one is taken. Generated files in `target` stay.
 * @param {string} target
 * @param {string[]} sources
 * @param {string[]} [except] Paths of files to leave out.
 */
export function copyApp(target, sources, except = []) {
  mkdirSync(target, { recursive: true });
  const wanted = new Map(sources.flatMap((source) => filesOf(source).map((file) => [path.relative(source, file), file])));
  for (const name of except) wanted.delete(path.normalize(name));
  for (const file of filesOf(target)) if (!wanted.has(path.relative(target, file))) rmSync(file);
  for (const [name, file] of wanted) {
    const copy = path.join(target, name);
    // A dev server treats every write as an edit.
    if (!existsSync(copy) || !readFileSync(copy).equals(readFileSync(file))) cpSync(file, copy);
  }
}

/** On an older Node.js, brings the copy of an app up to date: the app with the files for the frameworks' older majors. @param {Name} name */
function copyForOldNode(name) {
  if (folderOf(name) !== sourceOf(name)) copyApp(folderOf(name), [sourceOf(name), sourceOf(`node20/${name}`)], NOT_FOR_OLD_NODE);
}

/** On an older Node.js, copies each edit of the app's code. Returns the function that ends it. @param {Name} name */
export function followEdits(name) {
  if (folderOf(name) === sourceOf(name)) return () => {};
  const watcher = watch(path.join(sourceOf(name), apps[name].code), { recursive: true }, () => {
    try {
      copyForOldNode(name);
    } catch (error) {
      // An editor has removed its temporary file, which is another event.
      if (error.code !== 'ENOENT') console.error(error);
    }
  });
  // A watched folder is gone, as after a change of branches.
  watcher.on('error', (error) => console.error(error));
  return () => watcher.close();
}

/** A hash of the files' paths and contents. @param {string[]} files */
function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of files.filter((file) => existsSync(file)).sort()) hash.update(`${path.relative(root, file)}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

/** @param {string} stamp @param {string} hash */
const isStamped = (stamp, hash) => existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;

/** @type {Promise<string[]> | undefined} */
let tarballs;

/** The two tarballs, no older than the files in them; packed at most once. @returns {Promise<string[]>} */
export const ensureTarballs = () => (tarballs ??= freshTarballs());

async function freshTarballs() {
  const addon = path.basename(await ensureAddon());
  const files = [...PACKED, addon].flatMap((name) => {
    const file = path.join(root, name);
    return statSync(file).isDirectory() ? filesOf(file) : [file];
  });
  const newest = Math.max(...files.map((file) => statSync(file).mtimeMs));
  const names = existsSync(dist) ? readdirSync(dist).filter((name) => name.endsWith('.tgz')) : [];
  const packages = ['platform', `platform-${addon.split('.')[1]}`];
  const tarballs = packages.flatMap((each) => names.filter((name) => new RegExp(`^maravilla-labs-${each}-\\d`).test(name)).map((name) => path.join(dist, name)));
  if (tarballs.length === 2 && tarballs.every((file) => statSync(file).mtimeMs >= newest)) return tarballs;
  say('packing the package');
  return pack();
}

/**
 * Installs the tarballs in an app's folder, and everything else that its package.json and its lock file name.
 * @param {string} folder
 * @param {string} title
 * @param {Record<string, string>} [env]
 */
export async function ensureInstalled(folder, title, env) {
  const tarballs = await ensureTarballs();
  const modules = path.join(folder, 'node_modules');
  const stamp = path.join(modules, '.installed');
  const hash = hashOf([path.join(folder, 'package.json'), path.join(folder, 'package-lock.json'), ...tarballs]);
  if (isStamped(stamp, hash)) return;
  say(`installing ${title} (about 20 s the first time)`);
  // npm does not install a tarball whose name and version it has installed already.
  for (const name of ['@maravilla-labs', '.package-lock.json', '.installed']) rmSync(path.join(modules, name), { recursive: true, force: true });
  await run(['npm', 'install', '--no-save', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs], { cwd: folder, env, quiet: true });
  writeFileSync(stamp, hash);
}

/** Builds an app for production. @param {Name} name @param {string} folder @param {{ node?: string, origin?: string }} [how] */
export async function ensureBuilt(name, folder, { node = process.execPath, origin = apps[name].origin } = {}) {
  const stamp = path.join(folder, 'node_modules/.built');
  const installed = readFileSync(path.join(folder, 'node_modules/.installed'), 'utf8');
  const hash = `${hashOf(filesOf(folder))} ${installed} ${origin}`;
  if (isStamped(stamp, hash) && existsSync(path.join(folder, 'build'))) return;
  say(`building ${path.relative(root, folder)} (about 10 s)`);
  const env = { ...decoySecrets, NODE_ENV: 'production', ORIGIN: origin };
  await run([node, ...examples.argumentsOf(folder, apps[name].build)], { cwd: folder, env, quiet: true });
  writeFileSync(stamp, hash);
}

/** @param {Name} name */
export async function ensureExample(name) {
  copyForOldNode(name);
  await ensureInstalled(folderOf(name), `the ${apps[name].title} app`);
}

/** @param {Name} name */
export async function buildExample(name) {
  await ensureExample(name);
  await ensureBuilt(name, folderOf(name));
}

/** Installs and builds every app, all at once: half of the time is spent waiting for the network. */
export async function prepareExamples() {
  await ensureTarballs();
  await Promise.all(Object.keys(apps).map((name) => buildExample(/** @type {Name} */ (name))));
}
