'use strict';

const { createPlatform } = require('../../../index.js');
const { startServer } = require('../../../scripts/livekit-server.js');

/**
 * @typedef {object} Running A provider with its rooms, for one test file.
 * @property {import('../../../index.js').PlatformOptions} options What reaches it.
 * @property {(more?: import('../../../index.js').PlatformOptions) => import('../../../index.js').MediaService} open
 * @property {() => Promise<void>} stop
 */

/** Each must pass the whole behaviour suite. @type {{ name: string, start: () => Promise<Running> }[]} */
const providers = [
  {
    name: 'livekit',
    async start() {
      const server = await startServer();
      const { url, apiKey, apiSecret } = server;
      return running({ url, apiKey, apiSecret }, server.stop);
    },
  },
];

/**
 * @param {import('../../../index.js').PlatformOptions} options
 * @param {() => Promise<void>} stop
 * @returns {Running}
 */
function running(options, stop) {
  return { options, open: (more) => openMedia({ ...options, ...more }), stop };
}

/** @param {import('../../../index.js').PlatformOptions} options */
function openMedia(options) {
  const { media } = createPlatform(options);
  if (media === undefined) throw new Error('the options configure no provider');
  return media;
}

module.exports = { openMedia, providers };
