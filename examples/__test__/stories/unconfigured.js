'use strict';

// An app without media, with an unreachable server, and without SESSION_SECRET.

const { once } = require('node:events');
const { apps, argumentsOf, folderOf, startExample } = require('../../../test-support/example-server.js');
const { launch } = require('../../../test-support/processes.js');
const { HttpClient } = require('../support/http-client.js');
const { SESSION_SECRET, STORY_MS, useApp } = require('../support/use-app.js');

const SWITCHED_OFF = 'Calls are switched off';

/** @param {import('../support/use-app.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeUnconfigured(browsers, name) {
  const suite = useApp(browsers, async () => ({ app: await startExample(name, { env: { SESSION_SECRET } }) }));

  it('lobby and call show that calls are off, and everything else works', async () => {
    const ann = await suite.visitor('Ann');
    await ann.waitFor('the instructions', ({ status, text }) => {
      expect(status).toEqual([expect.stringContaining(SWITCHED_OFF)]);
      expect(text).toContain('MARAVILLA_MEDIA_PROVIDER=embedded');
    });
    await ann.goTo('/huddles/any');
    await ann.hasHeading(SWITCHED_OFF);
    const response = await ann.post('/api/huddles/any/join');
    expect(response).toMatchObject({ status: 503, body: expect.stringContaining(SWITCHED_OFF) });
    await ann.goTo('/');
    await ann.press('Sign out');
    await ann.hasState({ boxes: ['Your name'] });
  }, STORY_MS);

  it('calls are off if there is a key but no URL', async () => {
    const env = { SESSION_SECRET, LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-that-no-server-has-long-enough' };
    const app = await startExample(name, { env });
    try {
      const ann = new HttpClient(app.url);
      await ann.signIn('Ann');
      expect((await ann.post('/api/huddles/any/join')).status).toBe(503);
      expect(await (await ann.get('/')).text()).toContain(SWITCHED_OFF);
    } finally {
      await app.stop();
    }
  });

  it('with an unreachable media server the lobby has a notice, and join responds with 503', async () => {
    const env = { SESSION_SECRET, LIVEKIT_URL: 'ws://127.0.0.1:9', LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-that-no-server-has-long-enough' };
    const app = await startExample(name, { env });
    try {
      const ann = new HttpClient(app.url);
      await ann.signIn('Ann');
      expect(await (await ann.get('/')).text()).toContain('The list of huddles is not available');
      const response = await ann.post('/api/huddles/any/join');
      expect({ status: response.status, error: (await response.json()).error }).toEqual({ status: 503, error: 'Calls are temporarily unavailable' });
    } finally {
      await app.stop();
    }
  });

  it('in production it exits without SESSION_SECRET, and names the variable', async () => {
    const folder = folderOf(name);
    const app = launch(process.execPath, argumentsOf(folder, apps[name].serve), { HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'production' }, { cwd: folder });
    const ended = once(app.child, 'close');
    const late = setTimeout(() => app.stop(), 10_000);
    const [code] = await ended;
    clearTimeout(late);
    expect({ code, printed: app.logs() }).toEqual({ code: expect.atLeast(1), printed: expect.stringContaining('SESSION_SECRET') });
  });
}

module.exports = { describeUnconfigured };
