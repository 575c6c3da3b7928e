'use strict';

const { MediaError } = require('./errors.js');

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

/** Loads the addon, at first need: an app without a provider runs where there is none. */
function loadBinding(operation) {
  try {
    return require('../binding.js');
  } catch (error) {
    const target = describeTarget();
    const { name, version } = require('../package.json');
    const mend = TARGETS.includes(target)
      ? `type "npm install ${name}-${target}@${version}", or, in a clone of the repository, "npm run build"`
      : `there is one for ${TARGETS.join(', ')}; elsewhere, type "npm run build" in a clone of the repository`;
    const message = `no native addon for ${target} could be loaded: ${mend}`;
    throw new MediaError('INVALID_CONFIG', message, { operation, cause: error });
  }
}

/** The platform as its package names it, such as `linux-x64-gnu`. */
function describeTarget() {
  const { platform, arch } = process;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}`;
}

module.exports = { loadBinding };
