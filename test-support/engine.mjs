// Starts the embedded engine by its command line, in a process of its own.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { UserError, root } from '../scripts/shell.mjs';

/** Starts it on a free port with a random key, and waits until it is ready. */
export async function startEngine() {
  const [apiKey, apiSecret] = [`API${randomBytes(6).toString('hex')}`, randomBytes(24).toString('hex')];
  const options = ['dev', '--port', '0', '--key', apiKey, '--secret', apiSecret, '--json'];
  const command = [process.execPath, path.join(root, 'bin/maravilla-media.js'), ...options];
  // With setpriv, Linux kills the child also when this process is killed.
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
  const line = once(createInterface({ input: child.stdout }), 'line');
  const first = await Promise.race([line, ended]);
  if (typeof first[0] !== 'string') throw new UserError('the engine ended before it was ready');
  const { url, httpUrl: apiUrl } = JSON.parse(first[0]);
  return { url, apiUrl, apiKey, apiSecret, child, stop };
}
