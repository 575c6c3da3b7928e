// The base of every script: root folder, output, child processes. Scripts import nothing but Node's own modules before `ensureNodeModules`.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(fileURLToPath(import.meta.url), '../..');
const cacheFolder = path.join(root, '.cache');
/** Tools and downloads. A link is resolved, because cargo recompiles everything when the linker's path changes. */
export const cache = existsSync(cacheFolder) ? realpathSync(cacheFolder) : cacheFolder;

export const say = (text) => console.log(`-- ${text}`);

/** An error that the user can fix; it is printed without a stack. */
export class UserError extends Error {}

/** Runs the function if `url` is the file that `node` was given. It gets the command line's arguments. */
export async function main(url, run) {
  if (process.argv[1] === undefined || fileURLToPath(url) !== path.resolve(process.argv[1])) return;
  try {
    await run(process.argv.slice(2));
  } catch (error) {
    report(error);
    process.exitCode = 1;
  }
}

/** @param {unknown} error @param {(text: string) => unknown} [print] */
export function report(error, print = console.error) {
  print(error instanceof UserError ? `\n${error.message}` : String(error?.stack ?? error));
}

/**
 * Runs a program in the root folder. Resolves with its standard output; rejects with `output` and `log` (standard output and error) if it fails.
 * @param {string[]} command
 * @param {{ env?: Record<string, string>, cwd?: string, quiet?: boolean, print?: (text: string) => unknown }} [options]
 *   `quiet`: the output is shown only if the program fails. `print`: where output goes; default: the terminal.
 * @returns {Promise<string>}
 */
export function run([program, ...args], { env = {}, cwd = root, quiet = false, print = (text) => process.stdout.write(text) } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [output, log] = ['', ''];
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        if (stream === child.stdout) output += text;
        log += text;
        if (!quiet) print(text);
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output);
      if (quiet) print(log);
      reject(Object.assign(new UserError(`${[program, ...args].join(' ')}: ended with ${signal ?? `code ${code}`}`), { output, log }));
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
