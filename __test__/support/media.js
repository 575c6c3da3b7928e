'use strict';

const { createPlatform } = require('../../index.js');

// Long and odd enough that finding them anywhere is no chance hit.
const apiKey = 'APItestKeyOfTheSuite';
const apiSecret = 'Zq7secretOfTheSuiteThatMustNeverShow9xK';

/**
 * The media service for a server of the tests.
 * @param {string} url
 * @param {import('../../index.js').PlatformOptions} [options]
 */
function mediaAt(url, options = {}) {
  return createPlatform({ url, apiKey, apiSecret, ...options }).media;
}

/**
 * Every method that talks to the server, as a call that is right.
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
 * Each provider by its name, and its media service for clients at that URL: what needs no server is the same on all.
 * @type {{ name: string, open: typeof mediaAt }[]}
 */
const providers = [
  { name: 'livekit', open: mediaAt },
  {
    name: 'the embedded engine',
    open(publicUrl, options = {}) {
      const platform = createPlatform({ provider: 'embedded', publicUrl, apiKey, apiSecret, ...options });
      opened.push(platform);
      return platform.media;
    },
  },
];

module.exports = { apiKey, apiSecret, mediaAt, providers, roomCalls };
