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
  const { difference, readOptions } = require('./config.js');
  const operation = 'getPlatform';
  const reading = readOptions(operation, options, process.env);
  const injected = findInjected();
  const made = {
    platform: injected ?? {},
    // A closure: what was read holds a secret, and a global can be inspected.
    difference: (later) => difference(operation, reading, later),
    forget: () => {},
  };
  if (injected?.media !== undefined && injected.media !== null) return made;
  const { media } = openMedia(operation, reading, true);
  if (media === undefined) return made;
  const added = { value: media, writable: true, enumerable: true, configurable: true };
  if (!Reflect.defineProperty(made.platform, 'media', added)) made.platform = withMedia(injected, media);
  made.forget = () => {
    if (injected?.media === media) delete injected.media;
  };
  return made;
}

/** A platform that takes no new property, with ours; its methods run on the platform itself. */
function withMedia(injected, media) {
  const bound = new WeakMap();
  const read = (key) => {
    if (key === 'media') return media;
    const value = injected[key];
    // A class keeps its static properties; a method needs its private fields.
    if (typeof value !== 'function' || value.prototype !== undefined) return value;
    if (!bound.has(value)) bound.set(value, value.bind(injected));
    return bound.get(value);
  };
  return new Proxy(
    {},
    {
      get: (_, key) => read(key),
      set: (_, key, value) => Reflect.set(injected, key, value),
      has: (_, key) => key === 'media' || key in injected,
      ownKeys: () => [...new Set([...Reflect.ownKeys(injected), 'media'])],
      getOwnPropertyDescriptor: (_, key) =>
        key === 'media' || Object.hasOwn(injected, key)
          ? { value: read(key), writable: true, enumerable: true, configurable: true }
          : undefined,
    },
  );
}

function createPlatform(options) {
  const operation = 'createPlatform';
  const { readOptions } = require('./config.js');
  const opened = openMedia(operation, readOptions(operation, options), false);
  const platform = opened.media === undefined ? {} : { media: opened.media };
  const close = async () => opened.close?.();
  return Object.defineProperties(platform, {
    close: { value: close, writable: true, configurable: true },
    [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]: { value: close, writable: true, configurable: true },
  });
}

function clearPlatformCache() {
  globalThis[CACHE]?.forget();
  delete globalThis[CACHE];
}

/** `shared`: an embedded engine is the process's one, not the platform's own. */
function openMedia(operation, reading, shared) {
  const config = require('./config.js').chooseProvider(operation, reading);
  if (config === undefined) return {};
  const { loadBinding } = require('./native.js');
  return require('./media.js').createMedia(loadBinding(operation), operation, { ...config, shared });
}

function findInjected() {
  const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';
  return [globalThis.platform, globalThis.__maravilla_platform].find(isObject);
}

module.exports = { clearPlatformCache, createPlatform, getPlatform };
