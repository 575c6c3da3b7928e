'use strict';

// The embedded engine in a container that publishes one port for signalling and one for media. The browsers are outside.

const { readFileSync } = require('node:fs');
const path = require('node:path');
const { parseEnv } = require('node:util');
const { useBrowsers } = require('../../conformance/support/use-browsers.js');
const { startContainer } = require('./support/container.js');

/** An address of the host that the container doesn't have, so that the container's own candidates are unreachable. */
const HOST = '127.0.53.1';
const PORT = 7880;
const RTC_PORT = 50_000;
const PAIR = { apiKey: 'container', apiSecret: 'the-secret-of-the-container' };
const MEDIA_MS = 60_000;
const signalling = /** @type {const} */ ({ protocol: 'tcp', port: PORT });

const ENVIRONMENT = {
  MARAVILLA_MEDIA_PROVIDER: 'embedded',
  MARAVILLA_MEDIA_HOST: '0.0.0.0',
  MARAVILLA_MEDIA_PORT: String(PORT),
  MARAVILLA_MEDIA_PUBLIC_URL: `ws://${HOST}:${PORT}`,
  MARAVILLA_MEDIA_RTC_PORT: String(RTC_PORT),
  MARAVILLA_MEDIA_RTC_ADDRESS: HOST,
  MARAVILLA_MEDIA_API_KEY: PAIR.apiKey,
  MARAVILLA_MEDIA_API_SECRET: PAIR.apiSecret,
};

test('docs/containers.md shows this configuration', () => {
  const page = readFileSync(path.join(__dirname, '../../docs/containers.md'), 'utf8');
  const shown = parseEnv(/```dotenv\n(.*?)```/s.exec(page)?.[1] ?? '');
  const own = (/** @type {string} */ text) => text.replace(HOST, '192.0.2.7');
  expect(shown).toEqual({ ...Object.fromEntries(Object.entries(ENVIRONMENT).map(([name, value]) => [name, own(value)])), MARAVILLA_MEDIA_API_SECRET: '…' });
});

describe.each([
  ['UDP and TCP', /** @type {const} */ (['udp', 'tcp']), 'udp'],
  ['TCP only', /** @type {const} */ (['tcp']), 'tcp'],
])('with %s of one port published for media', (_, protocols, used) => {
  /** @type {Awaited<ReturnType<typeof startContainer>> | undefined} */
  let container;
  beforeAll(async () => {
    const media = protocols.map((protocol) => ({ protocol, port: RTC_PORT }));
    container = await startContainer({ env: ENVIRONMENT, host: HOST, publish: [signalling, ...media] });
  }, MEDIA_MS);
  const server = { url: `ws://${HOST}:${PORT}`, ...PAIR };
  const { join, newRoom } = useBrowsers(server);
  afterAll(() => container?.stop());

  test('generateToken responds with the URL of the published port', async () => {
    expect(await container?.mint(newRoom(), 'ann')).toMatchObject({ url: server.url, token: expect.any(String) });
  });

  test(
    `browsers outside receive each other over ${used}`,
    async () => {
      const room = newRoom();
      const ann = await join({ room, identity: 'ann', publish: ['camera', 'microphone'] });
      const ben = await join({ room, identity: 'ben', publish: ['camera', 'microphone'] });
      await Promise.all([ann.receivesMediaOf('ben'), ben.receivesMediaOf('ann')]);
      for (const participant of [ann, ben]) expect(await participant.run((here) => here.path())).toEqual({ protocol: used });
    },
    MEDIA_MS,
  );
});
