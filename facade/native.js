'use strict';

const { MediaError } = require('./errors.js');
const { isPolluted, readEnvironment, readProperty } = require('./properties.js');

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

/** As `engines` in package.json. */
const MIN_NODE = [20, 17];

/** Variables that binding.js obeys. Each could make it load another library. */
const LOADER_VARIABLES = ['NAPI_RS_NATIVE_LIBRARY_PATH', 'NAPI_RS_FORCE_WASI', 'NAPI_RS_WASI_FLAVOR'];

/** Characters of a system's reason that a message shows; the rest is cut. */
const MAX_REASON_CHARS = 300;

/** Throws where the addon cannot run because Node.js is too old. */
function requireNode(operation) {
  const { versions } = process;
  // Bun and Deno name the version of Node.js that they imitate.
  if (readProperty(versions, 'bun') || readProperty(versions, 'deno')) return;
  const [major, minor] = versions.node.split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])) return;
  throw invalid(operation, `media needs Node.js ${MIN_NODE.join('.')} or newer, and this is ${versions.node}: update Node.js`);
}

/** Loads the addon, at first need: an app without a provider runs where there is none. */
function loadBinding(operation) {
  try {
    const polluted = LOADER_VARIABLES.find((name) => isPolluted(process.env, name));
    if (polluted !== undefined) throw new Error(`Object.prototype has a property ${polluted}, which would choose what is loaded: find what put it there`);
    if (isTruncated(usualPlace(describeTarget()))) throw new Error(TRUNCATED);
    return require('../binding.js');
  } catch (error) {
    throw invalid(operation, explain(error), error);
  }
}

const TRUNCATED = 'the file is truncated';

/** Where package managers and `npm run build` put the addon. To resolve its package as binding.js does takes a millisecond more. */
function usualPlace(target) {
  const { existsSync } = require('node:fs');
  const { join } = require('node:path');
  const name = `platform.${target}.node`;
  const beside = join(__dirname, '..', name);
  return readEnvironment('NAPI_RS_NATIVE_LIBRARY_PATH') ?? (existsSync(beside) ? beside : join(__dirname, '../..', `platform-${target}`, name));
}

/** Whether a library for Linux is shorter than its header says: to load it would end the process with SIGBUS. */
function isTruncated(file) {
  const fs = require('node:fs');
  let descriptor;
  try {
    descriptor = fs.openSync(file, 'r');
    const header = Buffer.alloc(64);
    const isElf64 = fs.readSync(descriptor, header) === header.length && header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1;
    // The table of sections is the last part: its offset, the size of an entry, and their number.
    const end = header.readBigUInt64LE(40) + BigInt(header.readUInt16LE(58) * header.readUInt16LE(60));
    return isElf64 && BigInt(fs.fstatSync(descriptor).size) < end;
  } catch {
    // Not there or not to be read: the loader says so.
    return false;
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

/** Why no addon could be loaded, and the remedy. */
function explain(error) {
  const target = describeTarget();
  const found = findAddons(target).map(tryLoading);
  const broken = found.find(({ reason }) => reason !== undefined);
  if (broken !== undefined) {
    return `the native addon for ${target} is found but does not load: ${broken.file}: ${broken.reason}; if it was made for another machine, or is damaged, ${remedy(target)}`;
  }
  // It loads by itself: the loader has an objection of its own, such as another version.
  if (found.length > 0) return `the native addon for ${target} is found but was not loaded: ${reasonOf(deepest(error))}`;
  const { name } = require('../package.json');
  const others = TARGETS.filter((other) => other !== target && resolve(`${name}-${other}`).file !== undefined);
  const installed = others.length > 0 ? ` (only for ${others.join(', ')})` : '';
  return `the native addon for ${target} is not installed${installed}: ${remedy(target)}`;
}

// While the package is not on npm, `npm run pack` is where its tarballs come from.
function remedy(target) {
  if (!TARGETS.includes(target)) return `there is one for ${TARGETS.join(', ')}; elsewhere, run "npm run build" in a clone of the repository`;
  const { name, version } = require('../package.json');
  const tarball = `${name.replace('@', '').replace('/', '-')}-${target}-${version}.tgz`;
  return `run "npm run pack" on such a machine, in a clone of the repository, and then "npm install" with ${tarball} beside the package's own tarball; in the clone itself, run "npm run build"`;
}

/** The addons that binding.js tries, as far as they exist, in its order; with a reason where that cannot be found out. */
function findAddons(target) {
  const { name } = require('../package.json');
  const chosen = readEnvironment('NAPI_RS_NATIVE_LIBRARY_PATH');
  const candidates = chosen ? [chosen] : [`../platform.${target}.node`, `${name}-${target}`];
  return candidates.map(resolve).filter(({ file }) => file !== undefined);
}

/** Where a module is; with a reason where that cannot be found out. */
function resolve(specifier) {
  try {
    return { file: requireFromHere().resolve(specifier) };
  } catch (error) {
    // Not allowed to look, say.
    return error?.code === 'MODULE_NOT_FOUND' ? {} : { file: specifier, reason: reasonOf(error) };
  }
}

function tryLoading({ file, reason }) {
  if (reason !== undefined) return { file, reason };
  if (isTruncated(file)) return { file, reason: TRUNCATED };
  try {
    requireFromHere()(file);
    return { file };
  } catch (error) {
    return { file, reason: reasonOf(error, file) };
  }
}

/** A `require` that bundlers do not follow, because what it loads is known only here and now. */
const requireFromHere = () => require('node:module').createRequire(__filename);

/** A system's reason in one line, without the file that it begins with. */
function reasonOf(error, file = '') {
  const message = String(error?.message ?? error).trim().replaceAll(/\s*\n\s*/g, ' ');
  return (message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message).slice(0, MAX_REASON_CHARS);
}

function deepest(error) {
  let inner = error;
  while (inner?.cause instanceof Error) inner = inner.cause;
  return inner;
}

/** The platform as its package names it, such as `linux-x64-gnu`. */
function describeTarget() {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
}

/** Whether this Linux has musl; where nothing says so, glibc. Without a report of the process, which takes 20 ms. */
function isMusl() {
  const fs = require('node:fs');
  try {
    return fs.readFileSync('/usr/bin/ldd', 'utf8').includes('musl');
  } catch {
    // No such file, or not allowed to read it.
  }
  return fs.existsSync(`/lib/ld-musl-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.so.1`);
}

function invalid(operation, message, cause) {
  const details = { operation };
  if (cause !== undefined) details.cause = cause;
  return new MediaError('INVALID_CONFIG', message, details);
}

module.exports = { loadBinding, requireNode };
