'use strict';

// Plugin for Vite: serves the embedded engine's signalling on the dev server and the preview server.

const { mediaPathOf } = require('./facade/arguments.js');
const { attachmentOf } = require('./facade/attachment.js');

function maravillaMedia(options = {}) {
  const mediaPath = mediaPathOf('maravillaMedia', options.mediaPath);
  const attach = ({ httpServer, config }) => {
    if (httpServer) attachmentOf(true).attach(httpServer, mediaPath);
    else config.logger.warn('maravilla-media: Vite runs as middleware, without a server of its own: call media.attach(server) with the server that it runs in');
  };
  return { name: 'maravilla-media', configureServer: attach, configurePreviewServer: attach };
}

module.exports = { maravillaMedia };
