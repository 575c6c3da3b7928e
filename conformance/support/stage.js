'use strict';

// What every test of the browsers stands on: a server, a browser of each kind, rooms, and participants who go at the end.

const { openBrowser, servePage } = require('../../test-support/browser.js');
const { Participant } = require('./participant.js');
const { call, cleanUp, identify, newRun, roomOf, serverFromEnvironment } = require('./server.js');
const { mint } = require('./token.js');

/**
 * @typedef {import('../../test-support/browser.js').Kind} Kind
 * @typedef {import('./participant.js').Published} Published
 * @typedef {object} Joining
 * @property {string} room
 * @property {string} identity
 * @property {Kind} [browser] Default: chromium.
 * @property {('camera' | 'microphone' | Published)[]} [publish] Default: nothing.
 * @property {Record<string, any>} [grants] Of the token.
 * @property {Record<string, any>} [claims] Of the token.
 * @property {import('./token.js').Token} [token] In place of what the others make.
 * @property {Record<string, any>} [options] Of livekit-client's Room.
 * @property {Record<string, any>} [connect] Of its connect().
 * @property {string} [key] Of the end-to-end encryption.
 */

/** A browser takes seconds to start where others are busy. */
const START_MS = 60_000;
const CLOSE_MS = 5_000;

expect.extend({
  atLeast: (received, least) => ({ pass: received >= least, message: () => `${received} is less than ${least}` }),
  atMost: (received, most) => ({ pass: received <= most, message: () => `${received} is more than ${most}` }),
  same: (received, other) => ({ pass: received === other, message: () => `${received} and ${other}` }),
});

/** Sets everything up for the tests of a file, and takes it down after them. */
function setStage(server = serverFromEnvironment()) {
  const run = newRun();
  /** @type {Map<Kind, Promise<import('puppeteer-core').Browser>>} */
  const browsers = new Map();
  /** @type {Set<Participant>} */
  const here = new Set();
  /** @type {Awaited<ReturnType<typeof servePage>>} */
  let served;
  let rooms = 0;
  const stage = { server, kind: /** @type {'engine' | 'livekit'} */ ('livekit') };

  beforeAll(async () => {
    [served, stage.kind] = await Promise.all([servePage(), identify(server)]);
  }, START_MS);

  afterEach(() => Promise.all([...here].map(close)));

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

  /** Ends a page. What it would say to the server then, is never sent. @param {Participant} participant */
  async function close(participant) {
    here.delete(participant);
    const context = participant.page.browserContext();
    const closed = context.close().catch(() => {});
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
  }

  /** Somebody who has not joined yet. @param {string} identity @param {Kind} [browser] */
  async function open(identity, browser = 'chromium') {
    // In a context of its own a page has a window of its own, so that it counts as seen.
    const context = await (await browserOf(browser)).createBrowserContext();
    const page = await context.newPage();
    const participant = new Participant(identity, page);
    here.add(participant);
    await page.goto(served.url);
    return participant;
  }

  /** @param {Joining} joining */
  const tokenOf = ({ room, identity, grants, claims, token }) =>
    mint(server, token ?? { video: { roomJoin: true, room, ...grants }, claims: { sub: identity, ...claims } });

  /** Tries to join, and gives who tried and why it failed, if it did. @param {Joining} joining */
  async function tryToJoin(joining) {
    const { identity, browser, options, connect, key } = joining;
    const participant = await open(identity, browser);
    const how = { options, connect, key };
    const joins = (here, url, token, how) => here.join(url, token, how);
    const { error } = await participant.attempt(joins, server.url, tokenOf(joining), how);
    return { participant, error };
  }

  /** Joins, and publishes. @param {Joining} joining */
  async function join(joining) {
    const { participant, error } = await tryToJoin(joining);
    if (error) throw new Error(`${joining.identity} cannot join: ${JSON.stringify(error)}`);
    await participant.publishes(...(joining.publish ?? []));
    return participant;
  }

  const newRoom = () => roomOf(run, (rooms += 1));
  /** Asks the room service, with all grants. @param {string} method @param {Record<string, any>} message */
  const ask = (method, message) => call(server, method, message);

  return Object.assign(stage, { ask, join, newRoom, open, tokenOf, tryToJoin });
}

module.exports = { setStage };
