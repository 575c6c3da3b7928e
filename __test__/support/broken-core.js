'use strict';

const path = require('node:path');
const { root } = require('./child.js');

const file = path.join(root, 'facade/addon.js');

const LIVEKIT = { url: 'ws://127.0.0.1:1', apiKey: 'key', apiSecret: 'secret' };

/**
 * Loads the package again with functions of the native core replaced. Gives a platform and its media service, or the thrown error.
 * An operation of the function `call` is replaced by its own name.
 * @param {(name: string, original?: Function) => Function | undefined} replace
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
      const { call } = core;
      core.call = (provider, operation, ...rest) => (replace(operation) ?? call)(provider, operation, ...rest);
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

const OPERATIONS = [
  'deleteRoom',
  'listRooms',
  'getRoom',
  'updateRoom',
  'listParticipants',
  'getParticipant',
  'updateParticipant',
  'muteParticipant',
  'sendData',
  'removeParticipant',
  'mediaUrl',
  'enginePort',
  'close',
];

/** Names of the functions that the native core exports, and of the operations of its function `call`. */
function coreFunctions() {
  const { describeTarget, loadAddon } = require(file);
  const functions = Object.entries(loadAddon(describeTarget())).filter(([, value]) => typeof value === 'function');
  return [...functions.map(([name]) => name), ...OPERATIONS];
}

module.exports = { coreFunctions, loadOverCore };
