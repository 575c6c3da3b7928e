'use strict';

const { MediaError } = require('./errors.js');

// Registered, so that hot reload and a second copy of the package in one realm find the same platform.
const CACHE = Symbol.for('@maravilla-labs/platform');

function getPlatform(options) {
  const cached = globalThis[CACHE];
  if (cached !== undefined) {
    const field = options === undefined ? undefined : cached.difference(options);
    if (field === undefined) return cached.platform;
    const message = `option ${field} differs from the first call's: pass the same options each time, or call clearPlatformCache() first`;
    throw new MediaError('INVALID_CONFIG', message, { operation: 'getPlatform' });
  }
  const made = make(options);
  globalThis[CACHE] = made;
  return made.platform;
}

function make(options) {
  const { difference, readSettings } = require('./config.js');
  const operation = 'getPlatform';
  const settings = readSettings(operation, options, process.env);
  const injected = findInjected();
  const made = {
    platform: injected ?? {},
    // A closure: the settings hold a secret, and a global can be inspected.
    difference: (later) => difference(settings, readSettings(operation, later)),
    forget: () => {},
  };
  if (injected?.media !== undefined && injected.media !== null) return made;
  const media = openMedia(operation, settings);
  if (media === undefined) return made;
  if (!Object.isExtensible(made.platform)) made.platform = Object.create(made.platform);
  const { platform } = made;
  Object.defineProperty(platform, 'media', { value: media, writable: true, enumerable: true, configurable: true });
  made.forget = () => {
    if (injected !== undefined && platform.media === media) delete platform.media;
  };
  return made;
}

function createPlatform(options) {
  const operation = 'createPlatform';
  const { readSettings } = require('./config.js');
  const media = openMedia(operation, readSettings(operation, options));
  const platform = media === undefined ? {} : { media };
  // Nothing of a LiveKit server is held here: connections belong to the process, and idle ones close by themselves.
  const close = async () => {};
  return Object.defineProperties(platform, {
    close: { value: close, writable: true, configurable: true },
    [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]: { value: close, writable: true, configurable: true },
  });
}

function clearPlatformCache() {
  globalThis[CACHE]?.forget();
  delete globalThis[CACHE];
}

function openMedia(operation, settings) {
  const config = require('./config.js').chooseProvider(operation, settings);
  if (config === undefined) return undefined;
  const { loadBinding } = require('./native.js');
  return require('./media.js').createMedia(loadBinding(operation), operation, config);
}

function findInjected() {
  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';
  return [globalThis.platform, globalThis.__maravilla_platform].find(isObject);
}

module.exports = { clearPlatformCache, createPlatform, getPlatform };
