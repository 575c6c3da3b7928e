// One environment for everything that Cargo compiles: addon, Rust tests and clippy share their dependencies only
// while compiler, target and profile are the same.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Stop, cache, onPath, root, run, say } from './shell.mjs';

export const profile = 'release';

// A gcc whose C library is old: what it links runs on every Linux with glibc 2.28 or newer (it needs 2.17).
// The machine's own gcc would tie the addon to the machine's own glibc.
const toolchain = {
  package: '@napi-rs/cross-toolchain-x64-target-x86_64@1.0.0',
  integrity: 'sha512-lecoghCfoTAX9MLFcIx9/nL9M8xdkZ9n8Pki8qjKUNzjiq1zbECdEbzIZAMMHRtrXxifK9dAyYuh8gSxNbr2og==',
  archive: 'package/x86_64-unknown-linux-gnu.tar.xz',
  folder: path.join(cache, 'toolchain', 'x86_64-gcc-1.0.0'),
};

function usesToolchain() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime !== undefined;
}

let hostTriple;
function host() {
  if (!hostTriple) {
    if (!onPath('rustc')) throw new Stop('Rust is missing. Install it from rustup.rs, then run this command again.');
    hostTriple = /^host: (.+)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8', cwd: root }))[1];
  }
  return hostTriple;
}

/**
 * The environment for cargo. The target is named because napi's build always names it, and cargo keeps what it
 * compiles for a named target apart.
 * @returns {Promise<Record<string, string>>}
 */
export async function cargoEnv() {
  const target = host();
  if (!usesToolchain()) return { CARGO_BUILD_TARGET: target };
  await ensureToolchain();
  const tool = (name) => path.join(toolchain.folder, 'bin', `x86_64-unknown-linux-gnu-${name}`);
  return {
    CARGO_BUILD_TARGET: target,
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER: tool('gcc'),
    CC_x86_64_unknown_linux_gnu: tool('gcc'),
    CXX_x86_64_unknown_linux_gnu: tool('g++'),
    AR_x86_64_unknown_linux_gnu: tool('ar'),
  };
}

async function ensureToolchain() {
  if (existsSync(toolchain.folder)) return;
  say('fetching a gcc that links for old glibc versions (48 MB, about half a minute)');
  const parent = path.dirname(toolchain.folder);
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(path.join(parent, 'fetching-'));
  try {
    await run(['npm', 'pack', toolchain.package, '--silent', '--pack-destination', work], { quiet: true });
    const tarball = path.join(work, readdirSync(work)[0]);
    const found = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (found !== toolchain.integrity) throw new Stop(`${toolchain.package} is not the file that was checked: ${found}`);
    await run(['tar', '-xf', tarball, '-C', work, toolchain.archive], { quiet: true });
    const unpacked = path.join(work, 'root');
    mkdirSync(unpacked);
    await run(['tar', '-xJf', path.join(work, toolchain.archive), '-C', unpacked, '--strip-components=1'], { quiet: true });
    // The rename comes last, so that a folder of this name is always a whole one.
    renameSync(unpacked, toolchain.folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
