'use strict';

const { FaultServer } = require('./fault-server.js');
const { mediaAt } = require('./media.js');

const cleanups = [];

/** Runs `work` after the test, in reverse order of registration. */
const cleanUp = (work) => cleanups.push(work);

afterEach(async () => {
  for (const work of cleanups.splice(0).reverse()) await work();
});

/**
 * A server that is closed after the test.
 * @param {import('./fault-server.js').Responder} [respond]
 * @param {{ key: Buffer, cert: Buffer }} [certificate]
 */
async function serve(respond, certificate) {
  const server = await FaultServer.start(respond, certificate);
  cleanUp(() => server.close());
  return server;
}

/** Such a server, with its media service. */
async function serveMedia(respond, options) {
  const server = await serve(respond);
  return { server, media: mediaAt(server.url, options) };
}

module.exports = { cleanUp, serve, serveMedia };
