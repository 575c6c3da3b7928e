// Builds the Go programs that suites start: LiveKit's server and its mock, and clients.
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { UserError, isExecutable, onPath, root, run, say } from '../scripts/shell.mjs';
import server from './livekit-server.js';

const loadSources = path.join(root, 'bench/loadtest');
/** The bench's client, which sends and receives media by the thousand packets. */
export const loadClient = path.join(server.binaryFolder, process.platform === 'win32' ? 'loadtest.exe' : 'loadtest');

function requireGo() {
  if (!onPath('go')) throw new UserError('Go 1.26 or newer is missing. Install it from go.dev/dl, then run this command again.');
}

/** LiveKit's server and its mock, for `startServer` and `startTestServer` of livekit-server.js. */
export async function ensureServers() {
  const missing = [
    ['server', server.serverBinary],
    ['test-server', server.testServerBinary],
  ].filter(([, binary]) => !isExecutable(binary));
  if (missing.length === 0) return;
  requireGo();
  mkdirSync(server.binaryFolder, { recursive: true });
  const work = mkdtempSync(path.join(server.binaryFolder, 'building-'));
  try {
    say(`building LiveKit's server and its mock, ${server.LIVEKIT_VERSION} (up to 4 minutes)`);
    await prepareServerModule(work);
    const commands = missing.map(([name]) => `github.com/livekit/livekit-server/cmd/${name}`);
    await run(['go', 'build', '-o', work, ...commands], { cwd: work, quiet: true });
    for (const [name, binary] of missing) renameSync(path.join(work, name), binary);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Writes the module that livekit-server is built in. livekit-server replaces three Pion modules with LiveKit's forks, which the Go module
 * proxy does not have, so `go install` fails; upstream's webrtc lacks one method of the fork, which is added to a copy of it.
 */
async function prepareServerModule(folder) {
  for (const name of ['go.mod', 'go.sum']) cpSync(path.join(server.moduleFolder, name), path.join(folder, name));
  const webrtc = 'github.com/pion/webrtc/v4';
  const download = await run(['go', 'mod', 'download', '-json', webrtc], { cwd: folder, quiet: true });
  const copy = path.join(folder, 'webrtc');
  cpSync(JSON.parse(download).Dir, copy, { recursive: true });
  chmodSync(copy, 0o755); // The module cache is read-only.
  cpSync(path.join(server.moduleFolder, 'webrtc/sped.go'), path.join(copy, 'sped.go'));
  await run(['go', 'mod', 'edit', `-replace=${webrtc}=./webrtc`], { cwd: folder, quiet: true });
}

/** Builds {@link loadClient} unless it is newer than its sources. */
export const ensureLoadClient = () => ensureGoProgram(loadSources, loadClient, 'the client that puts a load on servers');

/** Builds a Go program unless the binary is newer than its sources. @param {string} sources @param {string} binary @param {string} title */
export async function ensureGoProgram(sources, binary, title) {
  const built = isExecutable(binary) ? statSync(binary).mtimeMs : 0;
  if (readdirSync(sources).every((name) => statSync(path.join(sources, name)).mtimeMs <= built)) return;
  requireGo();
  say(`building ${title} (up to 2 minutes)`);
  mkdirSync(path.dirname(binary), { recursive: true });
  await run(['go', 'build', '-o', binary, '.'], { cwd: sources, quiet: true });
  // Go does not touch a binary that would come out the same.
  const now = new Date();
  utimesSync(binary, now, now);
}
