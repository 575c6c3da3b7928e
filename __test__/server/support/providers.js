'use strict';

const { clearPlatformCache, createPlatform, getPlatform } = require('../../../index.js');
const { startServer } = require('../../../test-support/livekit-server.js');

/** @typedef {import('../../../index.js').PlatformOptions} PlatformOptions */
/** @typedef {import('../../../index.js').MediaService} MediaService */

/**
 * @typedef {object} Running A running provider, for one test file.
 * @property {PlatformOptions} options Options that connect to it, also from another process.
 * @property {(more?: PlatformOptions) => MediaService} open
 * @property {() => Promise<void>} stop
 * @property {boolean} revokes Whether `removeParticipant` can revoke tokens.
 */

/** Providers that must pass the whole behaviour suite. @type {{ name: string, start: () => Promise<Running> }[]} */
const providers = [
  {
    name: 'livekit',
    async start() {
      const server = await startServer();
      const { url, apiKey, apiSecret } = server;
      return running({ url, apiKey, apiSecret }, server.stop);
    },
  },
  {
    name: 'embedded',
    async start() {
      /** @type {PlatformOptions} */
      const options = { provider: 'embedded', env: {} };
      // The engine of the process, which test files share one after another.
      const open = (/** @type {PlatformOptions} */ more = {}) => {
        clearPlatformCache();
        return defined(getPlatform({ ...options, ...more }).media);
      };
      const media = open();
      const stop = async () => {
        for (const { name } of await media.listRooms()) await media.deleteRoom(name);
        clearPlatformCache();
      };
      return { options, open, stop, revokes: true };
    },
  },
  {
    name: 'livekit on the embedded engine',
    async start() {
      const [apiKey, apiSecret] = ['behaviour', 'secret-of-the-behaviour-suite-9xK'];
      const platform = createPlatform({ provider: 'embedded', apiKey, apiSecret });
      const url = /** @type {string} */ (await defined(platform.media).mediaUrl());
      return running({ url, apiKey, apiSecret }, platform.close);
    },
  },
];

/**
 * @param {PlatformOptions} options
 * @param {() => Promise<void>} stop
 * @returns {Running}
 */
function running(options, stop) {
  return { options, open: (more) => openMedia({ ...options, ...more }), stop, revokes: false };
}

/** @param {PlatformOptions} options */
function openMedia(options) {
  return defined(createPlatform(options).media);
}

/** @param {MediaService | undefined} media */
function defined(media) {
  if (media === undefined) throw new Error('the options configure no provider');
  return media;
}

module.exports = { openMedia, providers };
