// npm run pack: dist/ with the package and this machine's platform package, ready for `npm install`.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
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
  const tarballs = [];
  for (const folder of [root, platform]) {
    const printed = await run(['npm', 'pack', folder, '--json', '--pack-destination', dist], { quiet: true });
    tarballs.push(path.join(dist, JSON.parse(printed)[0].filename));
  }
  return tarballs;
}

if (isMain(import.meta.url)) {
  try {
    say(`packed: npm install ${(await pack()).join(' ')}`);
  } catch (error) {
    process.exitCode = report(error);
  }
}
