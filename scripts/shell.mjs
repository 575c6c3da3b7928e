// What every script needs: the root folder, a word to the reader, and a child process.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const cacheFolder = path.join(root, '.cache');
/** Tools and downloads. A link is resolved, because cargo recompiles everything when the linker's path changes. */
export const cache = existsSync(cacheFolder) ? realpathSync(cacheFolder) : cacheFolder;

export function say(text) {
  console.log(`-- ${text}`);
}

/** What the reader can mend; scripts print it without a stack. */
export class Stop extends Error {}

/** Prints what ended a script and gives its exit code. */
export function report(error) {
  console.error(error instanceof Stop ? `\n${error.message}` : error);
  return 1;
}

/**
 * Runs a program in the root folder, showing what it prints.
 * Resolves with its standard output, unless it fails. `quiet` shows its output only when it fails.
 * @param {string[]} command
 * @param {{ env?: Record<string, string>, cwd?: string, quiet?: boolean }} [options]
 * @returns {Promise<string>}
 */
export function run([program, ...args], { env = {}, cwd = root, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let all = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      all += text;
      if (!quiet) process.stdout.write(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      all += text;
      if (!quiet) process.stderr.write(text);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output);
      if (quiet) process.stderr.write(all);
      const error = new Stop(`${[program, ...args].join(' ')}: ended with ${signal ?? `code ${code}`}`);
      reject(Object.assign(error, { output }));
    });
  });
}

/** Whether a program of that name is on the PATH. */
export function onPath(program) {
  const name = process.platform === 'win32' ? `${program}.exe` : program;
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => isExecutable(path.join(folder, name)));
}

export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether this file is the one that `node` was given. */
export function isMain(url) {
  return process.argv[1] !== undefined && fileURLToPath(url) === path.resolve(process.argv[1]);
}
