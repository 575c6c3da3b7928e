'use strict';

// A server whose process is suspended, as on a laptop that sleeps: its sessions continue afterwards.

const { randomBytes } = require('node:crypto');
const path = require('node:path');
const { RtcClient } = require('../../conformance/support/rtc-client.js');
const { pause } = require('../../test-support/eventually.js');
const { dispose } = require('../../conformance/support/rtc.js');
const { mint } = require('../../conformance/support/token.js');
const { launch, untilReady } = require('../../test-support/processes.js');
const { startServer } = require('../../test-support/livekit-server.js');

/** Longer than the timeout of either server for a participant without packets. */
const SUSPENDED_MS = 25_000;
const BACK = { within: 45_000 };
const TEST_MS = 150_000;

/** Starts the engine in a separate process, which can be suspended. */
async function startEngine() {
  const pair = { apiKey: `API${randomBytes(6).toString('hex')}`, apiSecret: randomBytes(24).toString('hex') };
  const options = ['dev', '--port', '0', '--key', pair.apiKey, '--secret', pair.apiSecret, '--json'];
  const started = launch(process.execPath, [path.join(__dirname, '../../bin/maravilla-media.js'), ...options]);
  const printed = () => /^\{.*\}$/m.exec(started.logs())?.[0];
  await untilReady(started, async () => printed() !== undefined);
  return { ...started, ...pair, url: JSON.parse(String(printed())).url };
}

afterAll(() => dispose());

test.each([
  { name: 'livekit-server', start: startServer },
  { name: 'the engine', start: startEngine },
])(
  '$name keeps the sessions of its clients when its process was suspended for 25 s',
  async ({ start }) => {
    const server = await start();
    const clients = ['ann', 'ben'].map((identity) => new RtcClient(identity));
    const [ann, ben] = clients;
    try {
      for (const client of clients) {
        const video = { roomJoin: true, room: 'suspended' };
        await client.connect(server.url, mint(server, { video, claims: { sub: client.identity } }));
        await client.publishAudio();
      }
      await Promise.all([ann.receivesAudioOf('ben'), ben.receivesAudioOf('ann')]);
      const before = clients.map(({ me }) => me.sid);
      for (const client of clients) client.events.length = 0;

      server.child.kill('SIGSTOP');
      await pause(SUSPENDED_MS);
      server.child.kill('SIGCONT');

      for (const client of clients) await client.hasEvent('reconnected', BACK);
      await Promise.all([ann.receivesAudioOf('ben'), ben.receivesAudioOf('ann')]);
      expect(clients.map(({ me }) => me.sid)).toEqual(before);
      expect(clients.flatMap(({ events }) => events.filter((event) => /^(participant|track)/.test(event)))).toEqual([]);
    } finally {
      server.child.kill('SIGCONT');
      await Promise.all(clients.map((client) => client.leave()));
      await server.stop();
    }
  },
  TEST_MS,
);
