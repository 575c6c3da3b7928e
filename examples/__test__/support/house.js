'use strict';

// What the tests of an app stand on: browsers of both kinds, the app served with rooms here or there, and people who go at the end.

const { randomBytes } = require('node:crypto');
const { launch } = require('../../../test-support/browser.js');
const { call } = require('../../../conformance/support/server.js');
const { startExample } = require('../../../test-support/example-server.js');
const { EVERYWHERE, startServer } = require('../../../test-support/livekit-server.js');
const { Guest } = require('./guest.js');
const { Visitor } = require('./visitor.js');

/** @typedef {keyof typeof providers} Provider */
/** @typedef {Record<'chromium' | 'firefox', import('puppeteer-core').Browser>} Browsers */
/** @typedef {{ url: string, logs: () => string, stop: () => Promise<void> }} App */

/** A browser takes seconds to start where others are busy. */
const START_MS = 90_000;
/** A whole story: people come, talk and go. */
const STORY_MS = 240_000;
const SESSION_SECRET = 'the sessions of a test are signed with this';

const randomKeys = () => ({ apiKey: `API${randomBytes(6).toString('hex')}`, apiSecret: randomBytes(24).toString('hex') });

/** Where rooms live: what is in the app's environment, and what its server API is reached with. */
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

/** Starts browsers before the tests of a block, and ends them after. @param {('chromium' | 'firefox')[]} [kinds] */
function openBrowsers(kinds = ['chromium', 'firefox']) {
  /** @type {Browsers} */
  const browsers = /** @type {any} */ ({});
  beforeAll(async () => {
    await Promise.all(kinds.map(async (kind) => Object.assign(browsers, { [kind]: await launch(kind) })));
  }, START_MS);
  afterAll(() => Promise.all(Object.values(browsers).map((browser) => browser.close())), START_MS);
  return browsers;
}

/**
 * Serves the app before the tests of a block, and gives who visits it. Whoever comes in a test goes after it.
 * @param {Browsers} browsers
 * @param {() => Promise<{ app: App, server?: { apiKey: string, apiSecret: string }, stop?: () => Promise<void> }>} start
 */
function setHouse(browsers, start) {
  /** @type {Visitor[]} */
  let here = [];
  /** @type {App} */
  let app;
  let server;
  let stop;
  let huddles = 0;

  beforeAll(async () => {
    ({ app, server, stop } = await start());
  }, START_MS);

  afterEach(async () => {
    const visitors = here;
    here = [];
    const errors = visitors.flatMap(({ errors, name }) => errors.map((error) => `${name}: ${error}`));
    await Promise.all(visitors.map((visitor) => visitor.goes()));
    // Whatever else a test shows: no page may throw.
    expect(errors).toEqual([]);
  }, START_MS);

  afterAll(async () => {
    await app?.stop();
    await stop?.();
  }, START_MS);

  /** Somebody who has not signed in. @param {string} name @param {'chromium' | 'firefox'} [browser] */
  async function stranger(name, browser = 'chromium') {
    const visitor = await Visitor.arrives(browsers[browser], name, app);
    here.push(visitor);
    return visitor;
  }

  /** Somebody who has. @param {string} name @param {'chromium' | 'firefox'} [browser] */
  async function visitor(name, browser) {
    const arrived = await stranger(name, browser);
    await arrived.signsIn();
    return arrived;
  }

  const guest = () => new Guest(app.url);

  /** A guest who has signed in. @param {string} name */
  async function member(name) {
    const member = guest();
    await member.signsIn(name);
    return member;
  }

  /** A huddle of the test's own. */
  const newHuddle = () => `test-${(huddles += 1)}`;

  /** Asks the media server itself, with all grants: it is where the app says that it is. @param {string} method @param {string} huddle */
  async function ask(method, huddle) {
    const { url } = await (await (await member('Root')).posts(`/api/huddles/${huddle}/join`)).json();
    return call({ url, ...server }, method, { room: `huddle:${huddle}` });
  }

  return { ask, guest, member, newHuddle, stranger, visitor, app: () => app };
}

/** The production build, with rooms there. @param {import('../../../test-support/example-server.js').Name} name @param {Provider} provider */
const serveWith = (name, provider) => async () => {
  const { env, stop, ...server } = await providers[provider]();
  const app = await startExample(name, { env: { SESSION_SECRET, ...env } });
  return { app, server, stop };
};

module.exports = { SESSION_SECRET, START_MS, STORY_MS, openBrowsers, providers, serveWith, setHouse };
