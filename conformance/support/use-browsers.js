'use strict';

// Set-up of the tests in browsers/: a server, a browser of each kind, rooms, and participants that are closed after each test.

const { openBrowser, servePage } = require('../../test-support/browser.js');
const { Participant } = require('./participant.js');
const { call, cleanUp, identify, newRun, roomOf, serverFromEnvironment } = require('./server.js');
const { mint } = require('./token.js');

/**
 * @typedef {import('../../test-support/browser.js').Kind} Kind
 * @typedef {import('./participant.js').Published} Published
 * @typedef {object} JoinOptions
 * @property {string} room
 * @property {string} identity
 * @property {Kind} [browser] Default: chromium.
 * @property {('camera' | 'microphone' | Published)[]} [publish] Default: nothing.
 * @property {Record<string, any>} [grants] Grants of the token.
 * @property {Record<string, any>} [claims] Claims of the token.
 * @property {import('./token.js').Token} [token] Instead of the other properties.
 * @property {Record<string, any>} [options] Options of livekit-client's Room.
 * @property {Record<string, any>} [connect] Options of its connect().
 * @property {string} [key] Key of the end-to-end encryption.
 */

/** On a busy machine a browser takes seconds to start. */
const START_MS = 60_000;
const CLOSE_MS = 5_000;

expect.extend({
  atLeast: (received, min) => ({ pass: received >= min, message: () => `${received} is less than ${min}` }),
  atMost: (received, max) => ({ pass: received <= max, message: () => `${received} is more than ${max}` }),
  same: (received, other) => ({ pass: received === other, message: () => `${received} and ${other}` }),
});

/** Call it once in a test file. */
function useBrowsers(server = serverFromEnvironment()) {
  const run = newRun();
  /** @type {Map<Kind, Promise<import('puppeteer-core').Browser>>} */
  const browsers = new Map();
  /** @type {Set<Participant>} */
  const participants = new Set();
  /** @type {Awaited<ReturnType<typeof servePage>>} */
  let served;
  let rooms = 0;
  const suite = { server, kind: /** @type {'engine' | 'livekit'} */ ('livekit') };

  beforeAll(async () => {
    [served, suite.kind] = await Promise.all([servePage(), identify(server)]);
  }, START_MS);

  afterEach(() => Promise.all([...participants].map(close)));

  afterAll(async () => {
    await Promise.all([...browsers.values()].map(async (browser) => (await browser).close()));
    await served?.close();
    await cleanUp(server, run);
  }, START_MS);

  /** @param {Kind} kind */
  function browserOf(kind) {
    let browser = browsers.get(kind);
    if (!browser) {
      browser = openBrowser(kind);
      browsers.set(kind, browser);
    }
    return browser;
  }

  /** Closes a page without a leave request to the server. @param {Participant} participant */
  async function close(participant) {
    participants.delete(participant);
    const context = participant.page.browserContext();
    const closed = context.close().catch(() => {});
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
  }

  /** Opens a page whose participant has not joined yet. @param {string} identity @param {Kind} [browser] */
  async function open(identity, browser = 'chromium') {
    // A context of its own gives the page a window of its own, so that it counts as visible.
    const context = await (await browserOf(browser)).createBrowserContext();
    const page = await context.newPage();
    const participant = new Participant(identity, page);
    participants.add(participant);
    await page.goto(served.url);
    return participant;
  }

  /** @param {JoinOptions} options */
  const tokenOf = ({ room, identity, grants, claims, token }) =>
    mint(server, token ?? { video: { roomJoin: true, room, ...grants }, claims: { sub: identity, ...claims } });

  /** Tries to join; gives the participant, and the error if there was one. @param {JoinOptions} joinOptions */
  async function tryToJoin(joinOptions) {
    const { identity, browser, options, connect, key } = joinOptions;
    const participant = await open(identity, browser);
    const how = { options, connect, key };
    const run = (here, url, token, how) => here.join(url, token, how);
    const { error } = await participant.attempt(run, server.url, tokenOf(joinOptions), how);
    return { participant, error };
  }

  /** Joins, and publishes. @param {JoinOptions} options */
  async function join(options) {
    const { participant, error } = await tryToJoin(options);
    if (error) throw new Error(`${options.identity} cannot join: ${JSON.stringify(error)}`);
    await participant.publish(...(options.publish ?? []));
    return participant;
  }

  const newRoom = () => roomOf(run, (rooms += 1));
  /** Calls the room service with all grants. @param {string} method @param {Record<string, any>} message */
  const callApi = (method, message) => call(server, method, message);

  return Object.assign(suite, { callApi, join, newRoom, open, tokenOf, tryToJoin });
}

module.exports = { useBrowsers };
