'use strict';

const { MediaError, isMediaError } = require('./facade/errors.js');

// The rest is loaded at the first call: importing this package costs an app nothing.
const platform = () => require('./facade/platform.js');

function getPlatform(options) {
  return platform().getPlatform(options);
}

function clearPlatformCache() {
  platform().clearPlatformCache();
}

function createPlatform(options) {
  return platform().createPlatform(options);
}

/** For development tools of the hosted platform; `_request` has no effect, because there is no request store here. */
function runWithRequest(_request, fn) {
  return fn();
}

function getCurrentRequestStore() {
  return undefined;
}

module.exports = { MediaError, clearPlatformCache, createPlatform, getCurrentRequestStore, getPlatform, isMediaError, runWithRequest };
