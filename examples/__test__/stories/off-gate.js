'use strict';

// Without a media server, and without what else an app needs.

const { once } = require('node:events');
const { apps, argumentsOf, folderOf, startExample } = require('../../../test-support/example-server.js');
const { launch } = require('../../../test-support/processes.js');
const { Guest } = require('../support/guest.js');
const { SESSION_SECRET, STORY_MS, setHouse } = require('../support/house.js');

const SWITCHED_OFF = 'Calls are switched off';

/** @param {import('../support/house.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeOffGate(browsers, name) {
  const house = setHouse(browsers, async () => ({ app: await startExample(name, { env: { SESSION_SECRET } }) }));

  it('lobby and call say that calls are off, and everything else works', async () => {
    const ann = await house.visitor('Ann');
    await ann.finds('what to do', ({ status, text }) => {
      expect(status).toEqual([expect.stringContaining(SWITCHED_OFF)]);
      expect(text).toContain('MARAVILLA_MEDIA_PROVIDER=embedded');
    });
    await ann.opens('/huddles/any');
    await ann.isTold(SWITCHED_OFF);
    const answer = await ann.asks('/api/huddles/any/join');
    expect(answer).toMatchObject({ status: 503, body: expect.stringContaining(SWITCHED_OFF) });
    await ann.opens('/');
    await ann.presses('Sign out');
    await ann.sees({ boxes: ['Your name'] });
  }, STORY_MS);

  it('a key without an address is off too', async () => {
    const env = { SESSION_SECRET, LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-that-no-server-has-long-enough' };
    const app = await startExample(name, { env });
    try {
      const ann = new Guest(app.url);
      await ann.signsIn('Ann');
      expect((await ann.posts('/api/huddles/any/join')).status).toBe(503);
      expect(await (await ann.gets('/')).text()).toContain(SWITCHED_OFF);
    } finally {
      await app.stop();
    }
  });

  it('where the media server is away the lobby says that it knows nothing', async () => {
    const env = { SESSION_SECRET, LIVEKIT_URL: 'ws://127.0.0.1:9', LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-that-no-server-has-long-enough' };
    const app = await startExample(name, { env });
    try {
      const ann = new Guest(app.url);
      await ann.signsIn('Ann');
      expect(await (await ann.gets('/')).text()).toContain('The list of huddles is not available');
      const answer = await ann.posts('/api/huddles/any/join');
      expect({ status: answer.status, error: (await answer.json()).error }).toEqual({ status: 503, error: 'Calls are temporarily unavailable' });
    } finally {
      await app.stop();
    }
  });

  it('in production it does not start without SESSION_SECRET, and says so', async () => {
    const folder = folderOf(name);
    const app = launch(process.execPath, argumentsOf(folder, apps[name].serve), { HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'production' }, { cwd: folder });
    const ended = once(app.child, 'close');
    const late = setTimeout(() => app.stop(), 10_000);
    const [code] = await ended;
    clearTimeout(late);
    expect({ code, printed: app.logs() }).toEqual({ code: expect.atLeast(1), printed: expect.stringContaining('SESSION_SECRET') });
  });
}

module.exports = { describeOffGate };
