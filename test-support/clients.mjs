// Installs the LiveKit clients that __test__/clients names, outside the repository's own packages. Run directly, it prints their places as JSON.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureAddon, ensurePrograms } from '../scripts/setup.mjs';
import { UserError, cache, main, onPath, root, run, say } from '../scripts/shell.mjs';
import { ensureGoProgram } from './go.mjs';

const sources = path.join(root, '__test__/clients');
const clients = path.join(cache, 'clients');
const PYTHON_VERSIONS = ['1.0', '1.2'];

/** Installs a file's packages into a new folder, unless it holds them already. @param {string} folder @param {string} file @param {() => Promise<unknown>} install */
async function ensureInstalled(folder, file, install) {
  const stamp = path.join(folder, '.installed');
  const wanted = readFileSync(file, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say(`installing the packages of ${path.relative(root, file)} (about 20 s)`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await install();
  writeFileSync(stamp, wanted);
}

/** @returns {Promise<string>} The node_modules folder. */
async function ensureNpmClients() {
  const [folder, file] = [path.join(clients, 'npm'), path.join(sources, 'package.json')];
  await ensureInstalled(folder, file, async () => {
    cpSync(file, path.join(folder, 'package.json'));
    await run(['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: folder, quiet: true });
  });
  return path.join(folder, 'node_modules');
}

/** @param {string} version @returns {Promise<string>} A folder for PYTHONPATH. */
async function ensurePythonClient(version) {
  const [folder, file] = [path.join(clients, `python-${version}`), path.join(sources, `python/requirements-${version}.txt`)];
  await ensureInstalled(folder, file, () => {
    if (!onPath('python3')) throw new UserError('Python 3.11 or newer with pip is missing. Install it, then run this command again.');
    return run(['python3', '-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '--target', folder, '-r', file], { quiet: true });
  });
  return folder;
}

/** @returns {Promise<{ npm: string, python: Record<string, string>, go: string }>} */
export async function ensureClients() {
  await ensureAddon();
  await ensurePrograms(['chromium-headless-shell']);
  const npm = await ensureNpmClients();
  const python = {};
  for (const version of PYTHON_VERSIONS) python[version] = await ensurePythonClient(version);
  const go = path.join(clients, process.platform === 'win32' ? 'go.exe' : 'go');
  await ensureGoProgram(path.join(sources, 'go'), go, "the participant by LiveKit's SDK for Go");
  return { npm, python, go };
}

await main(import.meta.url, async () => console.log(JSON.stringify(await ensureClients())));
