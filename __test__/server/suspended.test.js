'use strict';

// A server whose process is suspended, as on a laptop that sleeps: the sessions continue afterwards.

const { randomBytes } = require('node:crypto');
const path = require('node:path');
const { Caller } = require('../../conformance/support/caller.js');
const { pause } = require('../../test-support/eventually.js');
const { dispose } = require('../../conformance/support/rtc.js');
const { mint } = require('../../conformance/support/token.js');
const { launch, untilReady } = require('../../test-support/processes.js');
const { startServer } = require('../../test-support/livekit-server.js');

/** Longer than either server waits for a silent participant. */
const SUSPENDED_MS = 25_000;
const BACK = { within: 45_000 };
const TEST_MS = 150_000;

/** The engine in a process of its own, which can be stopped. */
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
    const callers = ['ann', 'ben'].map((identity) => new Caller(identity));
    const [ann, ben] = callers;
    try {
      for (const caller of callers) {
        const video = { roomJoin: true, room: 'suspended' };
        await caller.connect(server.url, mint(server, { video, claims: { sub: caller.identity } }));
        await caller.speaks();
      }
      await Promise.all([ann.hears('ben'), ben.hears('ann')]);
      const before = callers.map(({ me }) => me.sid);
      for (const caller of callers) caller.events.length = 0;

      server.child.kill('SIGSTOP');
      await pause(SUSPENDED_MS);
      server.child.kill('SIGCONT');

      for (const caller of callers) await caller.notes('reconnected', BACK);
      await Promise.all([ann.hears('ben'), ben.hears('ann')]);
      expect(callers.map(({ me }) => me.sid)).toEqual(before);
      expect(callers.flatMap(({ events }) => events.filter((event) => /^(participant|track)/.test(event)))).toEqual([]);
    } finally {
      server.child.kill('SIGCONT');
      await Promise.all(callers.map((caller) => caller.leaves()));
      await server.stop();
    }
  },
  TEST_MS,
);
