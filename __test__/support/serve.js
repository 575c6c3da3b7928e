'use strict';

const { FaultServer } = require('./fault-server.js');
const { mediaAt } = require('./media.js');

const cleanups = [];

/** Has `work` done after the test, whether that passes or fails; the last one first. */
const cleanUp = (work) => cleanups.push(work);

afterEach(async () => {
  for (const work of cleanups.splice(0).reverse()) await work();
});

/**
 * A server that lives as long as its test.
 * @param {import('./fault-server.js').Answer} [answer]
 * @param {{ key: Buffer, cert: Buffer }} [certificate]
 */
async function serve(answer, certificate) {
  const server = await FaultServer.start(answer, certificate);
  cleanUp(() => server.close());
  return server;
}

/** Such a server, and the media service for it. */
async function serveMedia(answer, options) {
  const server = await serve(answer);
  return { server, media: mediaAt(server.url, options) };
}

module.exports = { cleanUp, serve, serveMedia };
