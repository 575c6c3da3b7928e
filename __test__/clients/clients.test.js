'use strict';

// Released clients on the embedded engine: they exchange media and data with each other.

require('../support/environment.js');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { createPlatform } = require('../../index.js');
const { MEDIA_MS, receivesAll, startBrowser, startProgram } = require('./support/participants.js');

/** @typedef {import('./support/participants.js').Participant} Participant */

/** The first run installs the packages of every client. */
const INSTALL_MS = 600_000;
/** A join, media and a message may take MEDIA_MS each. */
const TEST_MS = 4 * MEDIA_MS;

const BROWSER_VERSIONS = ['1.15', '2.0', '2.5', '2.10', '2.15', '2.20', '2.23'];
const NEWEST = '2.23';

/** @typedef {{ npm: string, python: Record<string, string>, go: string }} Installed */
const rtcNode = (/** @type {string} */ version) => (/** @type {Installed} */ { npm }) => ({
  command: [process.execPath, path.join(__dirname, 'rtc-node/participant.js')],
  env: { RTC_NODE: path.join(npm, `rtc-node-${version}`) },
});
const python = (/** @type {string} */ version) => (/** @type {Installed} */ installed) => ({
  command: ['python3', path.join(__dirname, 'python/participant.py')],
  env: { PYTHONPATH: installed.python[version] },
});

/** How each program is started. @type {[title: string, start: (installed: Installed) => { command: string[], env: Record<string, string> }][]} */
const PROGRAMS = [
  ['rtc-node 0.13', rtcNode('0.13')],
  ['rtc-node 1.1', rtcNode('1.1')],
  ['the Python SDK 1.0', python('1.0')],
  ['the Python SDK 1.2', python('1.2')],
  ['the Go SDK 2.18', ({ go }) => ({ command: [go], env: {} })],
];

const { media, close } = createPlatform({ provider: 'embedded' });
/** @type {Installed} */
let installed;
/** @type {Awaited<ReturnType<typeof startBrowser>>} */
let browser;
beforeAll(async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(__dirname, '../../test-support/clients.mjs')]);
  installed = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  browser = await startBrowser(installed.npm, BROWSER_VERSIONS);
}, INSTALL_MS);
afterAll(async () => {
  await browser?.close();
  await close();
});

/** @param {string} room @param {string} identity */
const access = (room, identity) => media.generateToken(room, { identity, name: identity });

describe('in one room with all versions of livekit-client', () => {
  /** @type {Participant[]} */
  const everyone = [];
  beforeAll(async () => {
    // One after another, because seven pages that start at once keep two cores busy for longer than a negotiation may take.
    for (const version of BROWSER_VERSIONS) everyone.push(await browser.join(version, version, await access('browsers', version)));
  }, TEST_MS);
  afterAll(() => Promise.all(everyone.map((participant) => participant.close())));

  test.each(BROWSER_VERSIONS)('%s receives video, audio and a message from each other version', async (version) => {
    const [receiver] = everyone.filter(({ identity }) => identity === version);
    expect(receiver.version).toMatch(`${version}.`);
    const others = everyone.filter((participant) => participant !== receiver);
    await Promise.all(others.map((sender) => receivesAll(receiver, sender)));
  }, TEST_MS);
});

test.each(PROGRAMS)(`%s exchanges video, audio and messages with livekit-client ${NEWEST}`, async (title, start) => {
  const { command, env } = start(installed);
  const page = await browser.join(NEWEST, 'page', await access(title, 'page'));
  const program = await startProgram('program', command, env, await access(title, 'program'));
  try {
    await Promise.all([receivesAll(page, program), receivesAll(program, page)]);
  } finally {
    await Promise.all([page, program].map((participant) => participant.close()));
  }
}, TEST_MS);
