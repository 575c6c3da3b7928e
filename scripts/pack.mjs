// npm run pack: dist/ with the package and this machine's platform package, ready for `npm install`.
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { generate } from './generate.mjs';
import { ensureAddon } from './setup.mjs';
import { isMain, report, root, run, say } from './shell.mjs';

export const dist = path.join(root, 'dist');

/** Gives the paths of the two tarballs, the main package's first. */
export async function pack() {
  await ensureAddon();
  await generate();
  const addon = readdirSync(root).find((name) => /^platform\..+\.node$/.test(name));
  const platform = path.join(root, 'npm', addon.split('.')[1]);
  copyFileSync(path.join(root, addon), path.join(platform, addon));
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  const main = stageMain();
  try {
    return [await packFolder(main), await packFolder(platform)];
  } finally {
    rmSync(main, { recursive: true });
  }
}

async function packFolder(folder) {
  const printed = await run(['npm', 'pack', folder, '--json', '--pack-destination', dist], { quiet: true });
  return path.join(dist, JSON.parse(printed)[0].filename);
}

/**
 * Copies the main package and declares the addon packages as optional peer dependencies: with Yarn PnP, and with pnpm without hoisting,
 * a package resolves only declared dependencies. In a release to npm they are optional dependencies, which `napi` adds.
 */
function stageMain() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'pack-'));
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const name of [...manifest.files, 'README.md']) cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  const addons = readdirSync(path.join(root, 'npm')).map((target) => `${manifest.name}-${target}`);
  manifest.peerDependencies = Object.fromEntries(addons.map((name) => [name, manifest.version]));
  manifest.peerDependenciesMeta = Object.fromEntries(addons.map((name) => [name, { optional: true }]));
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return folder;
}

if (isMain(import.meta.url)) {
  try {
    say(`packed: npm install ${(await pack()).join(' ')}`);
  } catch (error) {
    process.exitCode = report(error);
  }
}
