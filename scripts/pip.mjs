// Installs wheels from PyPI in a folder.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run } from './shell.mjs';

/**
 * Does nothing if the folder exists. pip rejects a wheel whose hash is not the one that its requirement names.
 * @param {string} folder
 * @param {string[]} requirements Such as `name==1.2.3 --hash=sha256:…`.
 * @param {string[]} [options] Further options of `pip install`.
 */
export async function ensureWheels(folder, requirements, options = []) {
  if (existsSync(folder)) return;
  const parent = path.dirname(folder);
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(path.join(parent, 'installing-'));
  try {
    const list = path.join(work, 'requirements.txt');
    const target = path.join(work, 'target');
    writeFileSync(list, requirements.join('\n'));
    const command = ['python3', '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile', '--only-binary', ':all:', '--require-hashes'];
    await run([...command, ...options, '--target', target, '-r', list], { quiet: true });
    // The rename comes last, so that a folder of this name is complete.
    renameSync(target, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
