// npm run conformance: the black-box suite, against the server that LIVEKIT_URL names, else against livekit-server and the engine alike.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { jest } from './jest.mjs';
import livekit from './livekit-server.js';
import { ensureAddon, ensureServers } from './setup.mjs';
import { Stop, isMain, report, root, say } from './shell.mjs';

const servers = { 'livekit-server': livekit.startServer, 'the engine': startEngine };

/** Runs the suite once against each server. @returns {Promise<import('./jest.mjs').Count>} */
export async function conformance() {
  await ensureServers();
  await ensureAddon();
  const total = { passed: 0, failed: 0 };
  for (const [name, start] of Object.entries(servers)) {
    const { url, apiKey, apiSecret, stop } = await start();
    say(`conformance: ${name} on ${url}`);
    const env = { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret };
    const count = await runSuite(env).finally(stop);
    total.passed += count.passed;
    total.failed += count.failed;
  }
  return total;
}

/** @param {Record<string, string>} [env] */
const runSuite = (env) => jest(['--selectProjects', 'conformance'], env);

/** Starts the engine alone, as a user does, and waits until it serves. */
async function startEngine() {
  const [apiKey, apiSecret] = [`API${randomBytes(6).toString('hex')}`, randomBytes(24).toString('hex')];
  const options = ['dev', '--port', '0', '--key', apiKey, '--secret', apiSecret, '--json'];
  const command = [process.execPath, path.join(root, 'bin/maravilla-media.js'), ...options];
  // Where Linux can do it, the kernel ends the child also when this process is killed.
  if (existsSync('/usr/bin/setpriv')) command.unshift('/usr/bin/setpriv', '--pdeathsig', 'KILL');
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = once(child, 'close');
  const stop = async () => {
    child.kill('SIGTERM');
    const last = setTimeout(kill, 5_000);
    await ended;
    clearTimeout(last);
    process.removeListener('exit', kill);
  };
  const told = once(createInterface({ input: child.stdout }), 'line');
  const first = await Promise.race([told, ended]);
  if (typeof first[0] !== 'string') throw new Stop('the engine ended before it served');
  return { url: JSON.parse(first[0]).url, apiKey, apiSecret, stop };
}

if (isMain(import.meta.url)) {
  try {
    const { passed, failed } = await (process.env.LIVEKIT_URL ? runSuite() : conformance());
    console.log(`\n${passed} passed, ${failed} failed`);
    process.exitCode = failed > 0 ? 1 : 0;
  } catch (error) {
    process.exitCode = report(error);
  }
}
