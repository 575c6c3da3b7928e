'use strict';

const { MediaError } = require('./errors.js');
const { isPolluted, readProperty } = require('./properties.js');

/** Minimum Node.js version, major and minor, as in `engines` of package.json. */
const MIN_NODE = [20, 17];

/** Variables that addon.js and binding.js read. Each can select another library. */
const LOADER_VARIABLES = ['NAPI_RS_NATIVE_LIBRARY_PATH', 'NAPI_RS_FORCE_WASI', 'NAPI_RS_WASI_FLAVOR'];

/** Throws if Node.js is too old for the addon. */
function requireNode(operation) {
  const { versions } = process;
  // Bun and Deno report the version of Node.js that they emulate.
  if (readProperty(versions, 'bun') || readProperty(versions, 'deno')) return;
  const [major, minor] = versions.node.split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])) return;
  throw invalid(operation, `media needs Node.js ${MIN_NODE.join('.')} or newer, and this is ${versions.node}: update Node.js`);
}

/** Loads the addon, at first need: an app without a provider runs where there is none. */
function loadBinding(operation) {
  const polluted = LOADER_VARIABLES.find((name) => isPolluted(process.env, name));
  if (polluted !== undefined) {
    throw invalid(operation, `Object.prototype has a property ${polluted}, which would choose what is loaded: find what put it there`);
  }
  try {
    // addon.js, or for Bun addon.bun.js: see `imports` in package.json.
    const { describeTarget, loadAddon } = require('#addon');
    return loadAddon(describeTarget());
  } catch (error) {
    throw invalid(operation, error.message, error);
  }
}

function invalid(operation, message, cause) {
  const details = { operation };
  if (cause !== undefined) details.cause = cause;
  return new MediaError('INVALID_CONFIG', message, details);
}

module.exports = { loadBinding, requireNode };
