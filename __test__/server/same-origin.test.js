'use strict';

// A call through the one port of an app: its https server, with a self-signed certificate, on another address than the engine's.

const { once } = require('node:events');
const https = require('node:https');
const os = require('node:os');
const { Participant } = require('../../conformance/support/participant.js');
// Adds the matchers that a participant's checks use.
require('../../conformance/support/use-browsers.js');
const { createPlatform } = require('../../index.js');
const { launch, pageListener } = require('../../test-support/browser.js');
const { certificates } = require('../support/certificates.js');
const { candidatesOf } = require('../support/embedded.js');

const CALL_MS = 120_000;

/** An address of this machine other than 127.0.0.1. */
const outer = Object.values(os.networkInterfaces()).flat().find((each) => each?.family === 'IPv4' && !each.internal)?.address;
const HOST = outer ?? '127.0.0.2';

/** @type {(() => unknown)[]} */
const closing = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
}, CALL_MS);

/** An app with an engine, which listens on loopback only. */
async function startApp() {
  const platform = createPlatform({ provider: 'embedded' });
  closing.push(() => platform.close());
  const { media } = platform;
  if (!media) throw new Error('there is no media');
  const server = https.createServer(certificates().elsewhere, pageListener());
  await media.attach(server);
  await once(server.listen(0, HOST), 'listening');
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { media, origin: `https://${HOST}:${port}` };
}

test(
  'two browsers on another address of the machine are in a call, and connect to no other port for signalling',
  async () => {
    const { media, origin } = await startApp();
    const browser = await launch('chromium', ['--ignore-certificate-errors']);
    closing.push(() => browser.close());
    const sockets = /** @type {string[]} */ ([]);
    /** @param {string} identity */
    const join = async (identity) => {
      const { token, url } = await media.generateToken('room', { identity, name: identity }, { origin });
      const page = await (await browser.createBrowserContext()).newPage();
      const session = await page.createCDPSession();
      session.on('Network.webSocketCreated', (event) => void sockets.push(event.url));
      await session.send('Network.enable');
      const participant = new Participant(identity, page);
      await page.goto(origin);
      await participant.run((here, url, token) => here.join(url, token, {}), url, token);
      await participant.publish('camera', 'microphone');
      return participant;
    };
    const ann = await join('ann');
    const ben = await join('ben');
    await Promise.all([ann.receivesMediaOf('ben'), ben.receivesMediaOf('ann')]);
    expect(sockets.length).toBeGreaterThanOrEqual(2);
    for (const socket of sockets) expect(socket).toContain(`${origin.replace('https', 'wss')}/media/rtc`);
    expect((await media.listParticipants('room')).map(({ state }) => state)).toEqual(['active', 'active']);
  },
  CALL_MS,
);

(outer === undefined ? test.skip : test)('media is received from other machines, although the engine signals on loopback', async () => {
  const { media } = await startApp();
  // Only then TCP connections are accepted on it.
  expect(await candidatesOf(media)).toEqual(expect.arrayContaining([expect.stringMatching(`^tcp ${outer?.replaceAll('.', '\\.')} `)]));
  expect(await media.mediaUrl()).toMatch(/^ws:\/\/127\.0\.0\.1:/);
});
