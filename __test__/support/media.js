'use strict';

const { createPlatform } = require('../../index.js');

// Long and unusual, so that a match in any output is no coincidence.
const apiKey = 'APItestKeyOfTheSuite';
const apiSecret = 'Zq7secretOfTheSuiteThatMustNeverShow9xK';

/**
 * A media service that uses LiveKit's provider.
 * @param {string} url
 * @param {import('../../index.js').PlatformOptions} [options]
 */
function mediaAt(url, options = {}) {
  return createPlatform({ url, apiKey, apiSecret, ...options }).media;
}

/**
 * A valid call of every method that sends a request.
 * @type {Record<string, (media: import('../../index.js').MediaService, options?: object) => Promise<unknown>>}
 */
const roomCalls = {
  createRoom: (media, options) => media.createRoom('room', undefined, options),
  deleteRoom: (media, options) => media.deleteRoom('room', options),
  listRooms: (media, options) => media.listRooms(options),
  listParticipants: (media, options) => media.listParticipants('room', options),
  removeParticipant: (media, options) => media.removeParticipant('room', 'ann', options),
};

const opened = [];
afterAll(async () => {
  for (const platform of opened.splice(0)) await platform.close();
});

/**
 * The media service of an embedded engine, which ends with the test file.
 * @param {string} publicUrl
 * @param {import('../../index.js').PlatformOptions} [options]
 */
function openEmbedded(publicUrl, options = {}) {
  const platform = createPlatform({ provider: 'embedded', publicUrl, apiKey, apiSecret, ...options });
  opened.push(platform);
  return platform.media;
}

module.exports = { apiKey, apiSecret, mediaAt, openEmbedded, roomCalls };
