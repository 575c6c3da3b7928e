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
  getRoom: (media, options) => media.getRoom('room', options),
  updateRoom: (media, options) => media.updateRoom('room', { metadata: 'm' }, options),
  getParticipant: (media, options) => media.getParticipant('room', 'ann', options),
  updateParticipant: (media, options) => media.updateParticipant('room', 'ann', { name: 'Ann' }, options),
  muteParticipant: (media, options) => media.muteParticipant('room', 'ann', options),
  sendData: (media, options) => media.sendData('room', 'hello', options),
  removeParticipant: (media, options) => media.removeParticipant('room', 'ann', options),
};

/** The server's method that a method of `media` calls first, where the names differ. @type {Record<string, string>} */
const RPCS = { getRoom: 'ListRooms', updateRoom: 'UpdateRoomMetadata', muteParticipant: 'GetParticipant' };

/** The server's method that a method of `media` calls first. @param {string} method */
const rpcOf = (method) => RPCS[method] ?? method[0].toUpperCase() + method.slice(1);

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

module.exports = { apiKey, apiSecret, mediaAt, openEmbedded, roomCalls, rpcOf };
