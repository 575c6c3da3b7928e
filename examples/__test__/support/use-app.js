'use strict';

// Set-up of the tests: browsers, the app on either provider, and visitors that are closed after each test.

const { randomBytes } = require('node:crypto');
const { openBrowser } = require('../../../test-support/browser.js');
const { call } = require('../../../conformance/support/server.js');
const { startExample } = require('../../../test-support/example-server.js');
const { EVERYWHERE, startServer } = require('../../../test-support/livekit-server.js');
const { HttpClient } = require('./http-client.js');
const { Visitor } = require('./visitor.js');

/** @typedef {keyof typeof providers} Provider */
/** @typedef {Record<'chromium' | 'firefox', import('puppeteer-core').Browser>} Browsers */
/** @typedef {{ url: string, logs: () => string, stop: () => Promise<void> }} App */

/** On a busy machine a browser takes seconds to start. */
const START_MS = 90_000;
/** Maximum time of a story. */
const STORY_MS = 240_000;
const SESSION_SECRET = 'the sessions of a test are signed with this';

const randomKeys = () => ({ apiKey: `API${randomBytes(6).toString('hex')}`, apiSecret: randomBytes(24).toString('hex') });

/** Providers: the environment of the app, and the credentials of its room service. */
const providers = {
  'the embedded engine': async () => {
    const { apiKey, apiSecret } = randomKeys();
    const keys = { MARAVILLA_MEDIA_API_KEY: apiKey, MARAVILLA_MEDIA_API_SECRET: apiSecret };
    const env = { MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_PORT: '0', ...keys };
    return { env, apiKey, apiSecret, stop: async () => {} };
  },
  'livekit-server': async () => {
    const { url, apiKey, apiSecret, stop } = await startServer({ config: EVERYWHERE });
    return { env: { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret }, apiKey, apiSecret, stop };
  },
};

/** Opens browsers for the tests of a block. @param {('chromium' | 'firefox')[]} [kinds] */
function openBrowsers(kinds = ['chromium', 'firefox']) {
  /** @type {Browsers} */
  const browsers = /** @type {any} */ ({});
  beforeAll(async () => {
    await Promise.all(kinds.map(async (kind) => Object.assign(browsers, { [kind]: await openBrowser(kind) })));
  }, START_MS);
  afterAll(() => Promise.all(Object.values(browsers).map((browser) => browser.close())), START_MS);
  return browsers;
}

/**
 * Serves the app for the tests of a block. Visitors are closed after each test.
 * @param {Browsers} browsers
 * @param {() => Promise<{ app: App, server?: { apiKey: string, apiSecret: string }, stop?: () => Promise<void> }>} start
 */
function useApp(browsers, start) {
  /** @type {Visitor[]} */
  let opened = [];
  /** @type {App} */
  let app;
  let server;
  let stop;
  let huddles = 0;

  beforeAll(async () => {
    ({ app, server, stop } = await start());
  }, START_MS);

  afterEach(async () => {
    const visitors = opened;
    opened = [];
    const errors = visitors.flatMap(({ errors, name }) => errors.map((error) => `${name}: ${error}`));
    await Promise.all(visitors.map((visitor) => visitor.close()));
    // No page may throw in any test.
    expect(errors).toEqual([]);
  }, START_MS);

  afterAll(async () => {
    await app?.stop();
    await stop?.();
  }, START_MS);

  /** Opens a visitor without a session. @param {string} name @param {'chromium' | 'firefox'} [browser] */
  async function newVisitor(name, browser = 'chromium') {
    const visitor = await Visitor.open(browsers[browser], name, app);
    opened.push(visitor);
    return visitor;
  }

  /** Opens a visitor, and signs in. @param {string} name @param {'chromium' | 'firefox'} [browser] */
  async function visitor(name, browser) {
    const visitor = await newVisitor(name, browser);
    await visitor.signIn();
    return visitor;
  }

  const httpClient = () => new HttpClient(app.url);

  /** An HTTP client with a session. @param {string} name */
  async function signedInClient(name) {
    const client = httpClient();
    await client.signIn(name);
    return client;
  }

  /** A huddle for one test. */
  const newHuddle = () => `test-${(huddles += 1)}`;

  /** Calls the room service of the app's media server with all grants. @param {string} method @param {string} huddle */
  async function callApi(method, huddle) {
    const { url } = await (await (await signedInClient('Root')).post(`/api/huddles/${huddle}/join`)).json();
    return call({ url, ...server }, method, { room: `huddle:${huddle}` });
  }

  return { callApi, httpClient, newHuddle, newVisitor, signedInClient, visitor, app: () => app };
}

/** Serves the production build on a provider. @param {import('../../../test-support/example-server.js').Name} name @param {Provider} provider */
const serveWith = (name, provider) => async () => {
  const { env, stop, ...server } = await providers[provider]();
  const app = await startExample(name, { env: { SESSION_SECRET, ...env } });
  return { app, server, stop };
};

module.exports = { SESSION_SECRET, START_MS, STORY_MS, openBrowsers, providers, serveWith, useApp };
