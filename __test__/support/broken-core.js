'use strict';

const path = require('node:path');
const { root } = require('./child.js');

const binding = path.join(root, 'binding.js');

/**
 * The package loaded anew, over a native core whose every method is `method` and whose functions are replaced by those
 * given; with its media service, or what was thrown in its place.
 * @param {(...args: unknown[]) => unknown} method
 * @param {Record<string, unknown>} [functions]
 */
function loadOverCore(method, functions = {}) {
  const loaded = {};
  jest.isolateModules(() => {
    jest.doMock(binding, () => {
      const actual = jest.requireActual(binding);
      class LiveKit {}
      for (const name of Object.getOwnPropertyNames(actual.LiveKit.prototype)) {
        if (name !== 'constructor') LiveKit.prototype[name] = method;
      }
      return { ...actual, LiveKit, openLiveKit: () => new LiveKit(), ...functions };
    });
    const { createPlatform } = require('../../index.js');
    try {
      loaded.media = createPlatform({ url: 'ws://127.0.0.1:1', apiKey: 'key', apiSecret: 'secret' }).media;
    } catch (error) {
      loaded.thrown = error;
    }
  });
  jest.dontMock(binding);
  return loaded;
}

module.exports = { loadOverCore };
