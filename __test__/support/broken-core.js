'use strict';

const path = require('node:path');
const { root } = require('./child.js');

const file = path.join(root, 'facade/addon.js');

const LIVEKIT = { url: 'ws://127.0.0.1:1', apiKey: 'key', apiSecret: 'secret' };

/**
 * The package loaded anew over a native core in which `replace` puts other functions: a platform and its media service,
 * or what was thrown in its place.
 * @param {(name: string, original: Function) => Function | undefined} replace
 * @param {import('../../index.js').PlatformOptions} [options]
 */
function loadOverCore(replace, options = LIVEKIT) {
  const loaded = {};
  jest.isolateModules(() => {
    jest.doMock(file, () => {
      const loader = jest.requireActual(file);
      const core = { ...loader.loadAddon(loader.describeTarget()) };
      for (const [name, original] of Object.entries(core)) {
        if (typeof original === 'function') core[name] = replace(name, original) ?? original;
      }
      return { ...loader, loadAddon: () => core };
    });
    const { createPlatform } = require('../../index.js');
    try {
      loaded.platform = createPlatform(options);
      loaded.media = loaded.platform.media;
    } catch (error) {
      loaded.thrown = error;
    }
  });
  jest.dontMock(file);
  return loaded;
}

/** The functions that the native core exports. */
function coreFunctions() {
  const { describeTarget, loadAddon } = require(file);
  return Object.entries(loadAddon(describeTarget())).filter(([, value]) => typeof value === 'function').map(([name]) => name);
}

module.exports = { coreFunctions, loadOverCore };
