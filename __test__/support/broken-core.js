'use strict';

const path = require('node:path');
const { root } = require('./child.js');

const file = path.join(root, 'binding.js');

/**
 * The package loaded anew over a native core in which `replace` puts other functions: its media service, or what was
 * thrown in its place.
 * @param {(name: string, original: Function) => Function | undefined} replace
 */
function loadOverCore(replace) {
  const loaded = {};
  jest.isolateModules(() => {
    jest.doMock(file, () => {
      const core = { ...jest.requireActual(file) };
      for (const [name, original] of Object.entries(core)) {
        if (typeof original === 'function') core[name] = replace(name, original) ?? original;
      }
      return core;
    });
    const { createPlatform } = require('../../index.js');
    try {
      loaded.media = createPlatform({ url: 'ws://127.0.0.1:1', apiKey: 'key', apiSecret: 'secret' }).media;
    } catch (error) {
      loaded.thrown = error;
    }
  });
  jest.dontMock(file);
  return loaded;
}

/** The functions that the native core exports. */
const coreFunctions = () => Object.entries(require(file)).filter(([, value]) => typeof value === 'function').map(([name]) => name);

module.exports = { coreFunctions, loadOverCore };
