// npm run build: the addon beside index.js, and binding.js and binding.d.ts from the Rust sources. `-- --target TRIPLE` builds the addon of another
// target, in target/addons/.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureNodeModules, ensureWheels } from './setup.mjs';
import { UserError, cache, main, onPath, root, run, say } from './shell.mjs';

export const profile = 'release';

// A gcc with an old C library: the addon then runs on every Linux with glibc 2.28 or newer, instead of this machine's glibc or newer.
const toolchain = {
  package: '@napi-rs/cross-toolchain-x64-target-x86_64@1.0.0',
  integrity: 'sha512-lecoghCfoTAX9MLFcIx9/nL9M8xdkZ9n8Pki8qjKUNzjiq1zbECdEbzIZAMMHRtrXxifK9dAyYuh8gSxNbr2og==',
  archive: 'package/x86_64-unknown-linux-gnu.tar.xz',
  folder: path.join(cache, 'toolchain', 'x86_64-gcc-1.0.0'),
};

/** Builds for other Linux targets than this machine's: a C compiler and linker with the C libraries of all of them. */
const zig = {
  folder: path.join(cache, 'tools', 'zig-0.17.1'),
  wheels: [
    'ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54',
    'cargo-zigbuild==0.24.1 --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375',
  ],
};
/** The glibc that Zig links for: the oldest one that Node.js 20 runs on. */
const ZIG_GLIBC = '2.28';

const rustc = (...args) => {
  if (!onPath('rustc')) throw new UserError('Rust is missing. Install it from rustup.rs, then run this command again.');
  return execFileSync('rustc', args, { encoding: 'utf8', cwd: root });
};
/** This machine's target. */
export const host = () => /^host: (.+)$/m.exec(rustc('-vV'))[1];

function usesToolchain() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime !== undefined;
}

/**
 * The environment of every cargo command: addon and tests share compiled crates only while compiler, target and profile are the same.
 * The target is named because napi's build names it, and cargo keeps what it compiles for a named target apart. Clippy compiles the workspace, so that
 * its lints take no pass of their own.
 * @returns {Promise<Record<string, string>>}
 */
export async function cargoEnv() {
  const env = { CARGO_BUILD_TARGET: host(), ...(onPath('clippy-driver') && { RUSTC_WORKSPACE_WRAPPER: 'clippy-driver' }) };
  if (!usesToolchain()) return env;
  await ensureToolchain();
  const tool = (name) => path.join(toolchain.folder, 'bin', `x86_64-unknown-linux-gnu-${name}`);
  return {
    ...env,
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER: tool('gcc'),
    CC_x86_64_unknown_linux_gnu: tool('gcc'),
    CXX_x86_64_unknown_linux_gnu: tool('g++'),
    AR_x86_64_unknown_linux_gnu: tool('ar'),
  };
}

/** napi's name of a target, such as `linux-x64-gnu` for `x86_64-unknown-linux-gnu`. @param {string} target */
export function platformOf(target) {
  const [cpu, , system, abi] = target.split('-');
  const platform = { windows: 'win32' }[system] ?? system;
  const arch = { x86_64: 'x64', aarch64: 'arm64', riscv64gc: 'riscv64' }[cpu] ?? cpu;
  return [platform, arch, abi].filter(Boolean).join('-');
}

/** Where the addon of a target is built. The folder of index.js has only this machine's, because that one is loaded there. @param {string} [target] */
export function addonOf(target = host()) {
  const platform = platformOf(target);
  return path.join(target === host() ? root : path.join(root, 'target/addons', platform), `platform.${platform}.node`);
}

/** @param {string} [target] @param {string} [bindings] The folder of the generated binding.js and binding.d.ts. */
export async function build(target = host(), bindings) {
  await ensureNodeModules();
  const { env, options } = target === host() ? { env: await cargoEnv(), options: [] } : await crossBuild(target);
  const napi = path.join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  const output = path.dirname(addonOf(target));
  const files = ['js', 'd.ts'].map((type) => (bindings ? path.relative(output, path.join(bindings, `binding.${type}`)) : `binding.${type}`));
  const command = [process.execPath, napi, 'build', '--profile', profile, '--platform', '--output-dir', output, '--no-const-enum'];
  await run([...command, '--js', files[0], '--dts', files[1], ...options], { env });
}

/**
 * The options of `napi build` and the environment that build for another target. Zig is used on Linux x64 with glibc for other Linux targets; any
 * other combination needs a compiler for the target on the machine.
 * @param {string} target
 */
async function crossBuild(target) {
  const env = await cargoEnv();
  if (!usesToolchain() || !target.includes('-linux-')) return { env, options: ['--target', target] };
  if (!existsSync(path.join(rustc('--print', 'sysroot').trim(), 'lib/rustlib', target))) {
    if (!onPath('rustup')) throw new UserError(`Rust's standard library for ${target} is missing, and there is no rustup to install it.`);
    await run(['rustup', 'target', 'add', target], { quiet: true });
  }
  if (!existsSync(zig.folder)) say('fetching Zig, which compiles and links for other targets (100 MB, about half a minute)');
  await ensureWheels(zig.folder, zig.wheels);
  const PATH = [path.join(zig.folder, 'bin'), process.env.PATH].join(path.delimiter);
  const versioned = target.endsWith('-gnu') ? `${target}.${ZIG_GLIBC}` : target;
  return { env: { ...env, PATH, CARGO_ZIGBUILD_ZIG_PATH: path.join(zig.folder, 'ziglang/zig') }, options: ['--cross-compile', '--target', versioned] };
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
    if (found !== toolchain.integrity) throw new UserError(`${toolchain.package} is not the file that was checked: ${found}`);
    await run(['tar', '-xf', tarball, '-C', work, toolchain.archive], { quiet: true });
    mkdirSync(path.join(work, 'root'));
    await run(['tar', '-xJf', path.join(work, toolchain.archive), '-C', path.join(work, 'root'), '--strip-components=1'], { quiet: true });
    // The rename comes last, so that a folder of this name is complete.
    renameSync(path.join(work, 'root'), toolchain.folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

await main(import.meta.url, (args) => build(parseArgs({ args, options: { target: { type: 'string' } } }).values.target));
