'use strict';

const { spawn } = require('node:child_process');
const path = require('node:path');
const { cleanEnv } = require('./environment.js');

const root = path.join(__dirname, '../..');
const entry = path.join(root, 'index.js');

/**
 * Runs a script in a Node process, where `entry` is the path of the package's entry. The script is CommonJS, or an ES module with
 * `module: true`.
 * @param {string} script
 * @param {{ env?: Record<string, string>, cwd?: string, flags?: string[], module?: boolean, entry?: string, limitMs?: number }} [options]
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string, tookMs: number }>}
 */
function runNode(script, { env = {}, cwd = root, flags = [], module = false, entry: path = entry, limitMs = 50_000 } = {}) {
  const started = performance.now();
  const constant = `const entry = ${JSON.stringify(path)};\n`;
  const type = `--input-type=${module ? 'module' : 'commonjs'}`;
  const child = spawn(process.execPath, [...flags, type, '--eval', constant + script], {
    cwd,
    env: { ...cleanEnv(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr, tookMs: performance.now() - started });
    });
  });
}

/**
 * The last line that a script prints, as JSON. Throws with its output if it fails.
 * @param {string} script
 * @param {Parameters<typeof runNode>[1]} [options]
 */
async function resultOf(script, options) {
  const { code, signal, stdout, stderr } = await runNode(script, options);
  if (code !== 0) throw new Error(`the child ended with ${signal ?? code}:\n${stdout}\n${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

module.exports = { entry, resultOf, root, runNode };
