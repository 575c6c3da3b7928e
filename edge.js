'use strict';

// Entry for workers, edge runtimes and browsers: returns the injected platform or an empty one. Uses no Node.js built-ins.

const { MediaError, isMediaError } = require('./facade/errors.js');
const { findInjected } = require('./facade/injected.js');

const message = 'media is server-only, and this code runs in a browser: call getPlatform() in server code';
const refuse = () => {
  throw new MediaError('INVALID_CONFIG', message, { operation: 'getPlatform' });
};
// In a browser `undefined` would read as "not configured".
const empty = typeof document === 'undefined' ? {} : Object.defineProperty({}, 'media', { get: refuse });
const close = async () => {};

const getPlatform = () => findInjected() ?? empty;
const createPlatform = () => ({ close, [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]: close });
const clearPlatformCache = () => {};
const runWithRequest = (_request, fn) => fn();
const getCurrentRequestStore = () => undefined;

module.exports = { MediaError, clearPlatformCache, createPlatform, getCurrentRequestStore, getPlatform, isMediaError, runWithRequest };
