'use strict';

/* global __non_webpack_require__ */

// Finds and loads the addon at run time, where package managers put it. Bundlers resolve a `require` of a literal name, and most of them
// fail on the `.node` file. Bun's bundler copies the file, and gets addon.bun.js (`imports` in package.json).

const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { readEnvironment } = require('./properties.js');

const NAME = '@maravilla-labs/platform';
const TARGETS = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
  'win32-arm64-msvc',
];

/**
 * Never called: file tracers copy the files named here into a deployment. Turbopack and @vercel/nft read the paths here; @vercel/nft in
 * Next.js with webpack reads the bundle, where webpack has written `require`.
 */
const traced = [
  () => path.join(__dirname, '../../platform-linux-x64-gnu/platform.linux-x64-gnu.node'),
  () => path.join(__dirname, '../../platform-linux-arm64-gnu/platform.linux-arm64-gnu.node'),
  () => path.join(__dirname, '../../platform-linux-x64-musl/platform.linux-x64-musl.node'),
  () => path.join(__dirname, '../../platform-linux-arm64-musl/platform.linux-arm64-musl.node'),
  () => path.join(__dirname, '../../platform-darwin-x64/platform.darwin-x64.node'),
  () => path.join(__dirname, '../../platform-darwin-arm64/platform.darwin-arm64.node'),
  () => path.join(__dirname, '../../platform-win32-x64-msvc/platform.win32-x64-msvc.node'),
  () => path.join(__dirname, '../../platform-win32-arm64-msvc/platform.win32-arm64-msvc.node'),
  () => __non_webpack_require__('@maravilla-labs/platform-linux-x64-gnu'),
  () => __non_webpack_require__('@maravilla-labs/platform-linux-arm64-gnu'),
  () => __non_webpack_require__('@maravilla-labs/platform-linux-x64-musl'),
  () => __non_webpack_require__('@maravilla-labs/platform-linux-arm64-musl'),
  () => __non_webpack_require__('@maravilla-labs/platform-darwin-x64'),
  () => __non_webpack_require__('@maravilla-labs/platform-darwin-arm64'),
  () => __non_webpack_require__('@maravilla-labs/platform-win32-x64-msvc'),
  () => __non_webpack_require__('@maravilla-labs/platform-win32-arm64-msvc'),
];

/** Maximum characters of the system's reason in a message; the rest is cut off. */
const MAX_REASON_CHARS = 300;

/** Loads the addon for a platform; the error says why there is none, and the remedy. @param {string} target */
function loadAddon(target) {
  const file = findAddon(target);
  if (file === undefined) throw new Error(explainMissing(target));
  try {
    if (isTruncated(file)) throw new Error('the file is truncated');
    return createRequire(file)(file);
  } catch (error) {
    throw new Error(explainBroken(target, file, error), { cause: error });
  }
}

/** The addon's file; `undefined` if there is none. */
function findAddon(target) {
  const chosen = readEnvironment('NAPI_RS_NATIVE_LIBRARY_PATH');
  return chosen ? path.resolve(chosen) : (usualPlaces(target).find((file) => fs.existsSync(file)) ?? lookUp(target));
}

/** Where `npm run build` and most package managers put the addon. A look-up takes a millisecond longer. */
function usualPlaces(target) {
  // A bundle of ES modules has no __dirname.
  if (typeof __dirname !== 'string') return [];
  const name = `platform.${target}.node`;
  return [path.join(__dirname, '..', name), path.join(__dirname, '../..', `platform-${target}`, name)];
}

/** Looks for the addon in `node_modules` folders. */
function lookUp(target) {
  // The file rather than its package, because tracers leave package.json out.
  const specifier = `${NAME}-${target}/platform.${target}.node`;
  for (const base of lookupBases()) {
    try {
      return createRequire(base).resolve(specifier);
    } catch (error) {
      // For example, Deno without permission to read.
      if (error?.code !== 'MODULE_NOT_FOUND') throw new Error(explainBroken(target, specifier, error), { cause: error });
    }
  }
  return undefined;
}

/** Files whose folders and parent folders are searched. A bundle may not know its own path. */
function lookupBases() {
  const own = typeof __filename === 'string' ? [__filename] : [];
  if (!isBundled()) return own;
  return [...own, process.argv[1], path.join(process.cwd(), 'index.js')].filter((file) => file !== undefined && path.isAbsolute(file));
}

/** Whether this code is part of a bundle. Turbopack keeps the file's name, but in a folder that does not exist. */
function isBundled() {
  return typeof __filename !== 'string' || path.basename(__filename) !== 'addon.js' || !fs.existsSync(__filename);
}

/** Whether a library for Linux is shorter than its header says: loading it would end the process with SIGBUS. */
function isTruncated(file) {
  const fs = require('node:fs');
  let descriptor;
  try {
    descriptor = fs.openSync(file, 'r');
    const header = Buffer.alloc(64);
    const isElf64 = fs.readSync(descriptor, header) === header.length && header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1;
    // The section header table comes last: its offset, the size of an entry, and the number of entries.
    const end = header.readBigUInt64LE(40) + BigInt(header.readUInt16LE(58) * header.readUInt16LE(60));
    return isElf64 && BigInt(fs.fstatSync(descriptor).size) < end;
  } catch {
    // Missing or unreadable: the loader reports it.
    return false;
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

function explainBroken(target, file, error) {
  return `the native addon for ${target} is found but does not load: ${file}: ${reasonOf(error, file)}; if it was made for another machine, or is damaged, ${remedy(target)}`;
}

function explainMissing(target) {
  if (isBundled() && TARGETS.includes(target)) {
    return (
      `the native addon for ${target} is not installed where this bundle runs: install ${NAME}-${target} in a folder node_modules above the bundle, ` +
      `name its file in NAPI_RS_NATIVE_LIBRARY_PATH, or keep ${NAME} out of the bundle (external)`
    );
  }
  const others = TARGETS.filter((other) => other !== target && lookUp(other) !== undefined);
  const installed = others.length > 0 ? ` (only for ${others.join(', ')})` : '';
  return `the native addon for ${target} is not installed${installed}: ${remedy(target)}`;
}

// While the package is not on npm, `npm run pack` is where its tarballs come from.
function remedy(target) {
  if (!TARGETS.includes(target)) return `there is one for ${TARGETS.join(', ')}; elsewhere, run "npm run build" in a clone of the repository`;
  const version = isBundled() ? '<version>' : createRequire(__filename)('../package.json').version;
  const tarball = `${NAME.replace('@', '').replace('/', '-')}-${target}-${version}.tgz`;
  return `run "npm run pack" on such a machine, in a clone of the repository, and then "npm install" with ${tarball} beside the package's own tarball; in the clone itself, run "npm run build"`;
}

/** The system's reason in one line, without the leading file name. */
function reasonOf(error, file = '') {
  const message = String(error?.message ?? error).trim().replaceAll(/\s*\n\s*/g, ' ');
  return (message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message).slice(0, MAX_REASON_CHARS);
}

/** The target as the addon's package names it, such as `linux-x64-gnu`. */
function describeTarget() {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
}

/** Whether this Linux uses musl; glibc is assumed by default. Does not use process.report, which takes 20 ms. */
function isMusl() {
  const fs = require('node:fs');
  try {
    return fs.readFileSync('/usr/bin/ldd', 'utf8').includes('musl');
  } catch {
    // Missing or unreadable.
  }
  return fs.existsSync(`/lib/ld-musl-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.so.1`);
}

module.exports = { describeTarget, isTruncated, loadAddon, usualPlaces };
// Exported, because minifiers drop unused code.
module.exports.traced = traced;
