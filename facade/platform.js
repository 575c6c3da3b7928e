'use strict';

const { MediaError } = require('./errors.js');
const { findInjected } = require('./injected.js');
const { readProperty } = require('./properties.js');

// Registered, so that hot reload and a second copy of the package in one realm find the same platform.
const CACHE = Symbol.for('@maravilla-labs/platform');

/**
 * Returns the cached platform, unless the environment or the injected platform has changed since. Throws if options in code differ
 * from earlier ones.
 */
function getPlatform(options) {
  const operation = 'getPlatform';
  const cached = globalThis[CACHE];
  const injected = findInjected(cached?.injected === undefined ? cached?.platform : undefined);
  if (cached === undefined) return cache(make(operation, readAgain(operation, options), injected));
  const earlier = cached.read();
  const isSameHost = injected === cached.injected;
  // In production nothing restarts within the process, and reading the environment takes longer than minting a token.
  if (options === undefined && earlier.isProduction && isSameHost) return cached.platform;
  const reading = readAgain(operation, options, earlier);
  const changed = require('./config.js').differences(earlier, reading);
  const field = changed.find((name) => reading.settings[name]?.inCode);
  if (field !== undefined) {
    const message = `option ${field} differs from the first call's: pass the same options each time, or call clearPlatformCache() first`;
    throw new MediaError('INVALID_CONFIG', message, { operation });
  }
  if (changed.length === 0 && isSameHost) return cached.platform;
  clearPlatformCache();
  return cache(make(operation, reading, injected));
}

const readAgain = (operation, options, earlier) => require('./config.js').readOptions(operation, options, process.env, earlier);

function cache(made) {
  globalThis[CACHE] = made;
  return made.platform;
}

function make(operation, reading, injected) {
  const made = {
    platform: injected ?? {},
    injected,
    // A closure: what was read holds a secret, and a global can be inspected.
    read: () => reading,
    forget: () => {},
  };
  const theirs = injected && (readProperty(injected, 'media') ?? undefined);
  // An explicit provider overrides the injected media; one that LiveKit's options only imply (URL, key, secret) does not.
  if (theirs !== undefined && reading.settings.provider === undefined) return made;
  const { media } = openMedia(operation, reading, true);
  if (media === theirs) {
    if (injected === undefined) require('./config.js').warnIfUnconfigured(reading);
    return made;
  }
  const before = Object.getOwnPropertyDescriptor(made.platform, 'media');
  const added = { value: media, writable: true, enumerable: true, configurable: true };
  if (!Reflect.defineProperty(made.platform, 'media', added)) {
    made.platform = withMedia(injected, media);
    return made;
  }
  made.forget = () => {
    // Leaves the platform unchanged if it is not injected, or if the host has set another media since.
    if (injected === undefined || Object.getOwnPropertyDescriptor(injected, 'media')?.value !== media) return;
    delete injected.media;
    if (before !== undefined) Reflect.defineProperty(injected, 'media', before);
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

const NO_MEDIA = { media: undefined, close: undefined };

/** `shared`: an embedded engine is the process's one, not the platform's own. */
function openMedia(operation, reading, shared) {
  const config = require('./config.js').chooseProvider(operation, reading);
  if (config === undefined) return NO_MEDIA;
  const { loadBinding } = require('./native.js');
  return require('./media.js').createMedia(loadBinding(operation), operation, { __proto__: null, ...config, shared });
}

module.exports = { clearPlatformCache, createPlatform, getPlatform };
