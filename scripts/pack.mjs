// npm run pack: dist/ with the package and this machine's platform package, ready for `npm install`. `-- --target TRIPLE`, once or more often, adds
// the platform packages of other targets.
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generate } from './generate.mjs';
import { ensureAddon } from './setup.mjs';
import { isMain, report, root, run, say } from './shell.mjs';

export const dist = path.join(root, 'dist');

/**
 * Returns the paths of the tarballs, the main package's first.
 * @param {string[]} [targets] Further targets than this machine's.
 * @param {string} [folder] Emptied first.
 */
export async function pack(targets = [], folder = dist) {
  const addons = new Set([await ensureAddon()]);
  for (const target of targets) addons.add(await ensureAddon(target));
  await generate();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const main = stageMain();
  try {
    const tarballs = [await packFolder(main, folder)];
    for (const addon of addons) {
      const platform = path.join(root, 'npm', path.basename(addon).split('.')[1]);
      copyFileSync(addon, path.join(platform, path.basename(addon)));
      tarballs.push(await packFolder(platform, folder));
    }
    return tarballs;
  } finally {
    rmSync(main, { recursive: true });
  }
}

async function packFolder(source, folder) {
  const printed = await run(['npm', 'pack', source, '--json', '--pack-destination', folder], { quiet: true });
  return path.join(folder, JSON.parse(printed)[0].filename);
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
    const { values } = parseArgs({ options: { target: { type: 'string', multiple: true, default: [] } } });
    const [main, ...platforms] = await pack(values.target);
    // npm rejects a dependency for another platform, and skips an optional one.
    const commands = platforms.length > 1 ? [`npm install ${main}`, `npm install --save-optional ${platforms.join(' ')}`] : [`npm install ${main} ${platforms[0]}`];
    say(`packed: ${commands.join(' && ')}`);
  } catch (error) {
    process.exitCode = report(error);
  }
}
