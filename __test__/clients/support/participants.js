'use strict';

// Participants that use released clients, in pages of Chromium and in programs. Each publishes a camera and a microphone and reports, as events:
// `video` and `audio` with the publisher's identity, once it has decoded a moving picture or sound, and `data` for each message.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { createInterface } = require('node:readline');
const { launch, servePage } = require('../../../test-support/browser.js');
const { pause } = require('../../../test-support/eventually.js');
const { Events } = require('../../server/support/processes.js');

/** @typedef {{ url: string, token: string }} Access What `generateToken` returns. */
/** @typedef {{ identity: string, events: Events, version?: string, send: (text: string) => Promise<void>, close: () => Promise<unknown> }} Participant */

/** Maximum time for a join and for media, in ms. */
const MEDIA_MS = 60_000;
/** Maximum time to leave, in ms. Past it a program is killed, and a page stays open until its browser is closed. */
const LEAVE_MS = 5_000;
/** Maximum characters of a program's error output in an event. */
const MAX_PRINTED = 2_000;

const page = path.join(__dirname, '../page');
const fileOf = (/** @type {string} */ npm, /** @type {string} */ version) => path.join(npm, `livekit-client-${version}`, 'dist/livekit-client.umd.js');

/**
 * Starts Chromium, and a server of pages with these versions of livekit-client.
 * @param {string} npm The folder of the installed packages.
 * @param {string[]} versions
 */
async function startBrowser(npm, versions) {
  const served = await servePage({
    '/': path.join(page, 'index.html'),
    '/media.js': path.join(__dirname, '../../../conformance/support/page/media.js'),
    '/participant.js': path.join(page, 'participant.js'),
    ...Object.fromEntries(versions.map((version) => [`/${version}.js`, fileOf(npm, version)])),
  });
  const browser = await launch('chromium');

  /** Joins from a new page. @param {string} version @param {string} identity @param {Access} access @returns {Promise<Participant>} */
  async function join(version, identity, { url, token }) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    const events = new Events();
    page.on('pageerror', (/** @type {any} */ error) => events.add({ event: 'error', detail: String(error?.message ?? error) }));
    await page.exposeFunction('report', (/** @type {any} */ event) => events.add(event));
    await page.goto(served.url);
    for (const script of [`${version}.js`, 'media.js', 'participant.js']) await page.addScriptTag({ url: `/${script}` });
    const joining = page.evaluate((url, token) => /** @type {any} */ (globalThis).here.join(url, token), url, token);
    const joined = await joining.catch((error) => {
      throw new Error(`livekit-client ${version} cannot join and publish: ${error?.message ?? error}`, { cause: error });
    });
    const send = (/** @type {string} */ text) => page.evaluate((text) => /** @type {any} */ (globalThis).here.send(text), text);
    const close = () => Promise.race([context.close(), pause(LEAVE_MS)]);
    return { identity, events, version: joined, send, close };
  }

  async function close() {
    await browser.close();
    await served.close();
  }
  return { join, close };
}

/**
 * Starts a program that joins.
 * @param {string} identity
 * @param {string[]} command
 * @param {Record<string, string>} env
 * @param {Access} access
 * @returns {Promise<Participant>}
 */
async function startProgram(identity, [program, ...args], env, { url, token }) {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(program, [...args, url, token], { env: { PATH, HOME, ...env } });
  const events = new Events();
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (printed = (printed + text).slice(-MAX_PRINTED)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{')) events.add(JSON.parse(line));
  });
  const ended = once(child, 'close').then(([code, signal]) => events.add({ event: 'ended', detail: { code, signal, printed } }));
  child.stdin.on('error', () => {}); // It has ended; the event above holds the cause.
  const send = async (/** @type {string} */ text) => void child.stdin.write(`${text}\n`);
  const close = async () => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    await ended;
    clearTimeout(timer);
  };
  try {
    await events.next('joined', undefined, MEDIA_MS);
  } catch (error) {
    await close();
    throw error;
  }
  return { identity, events, send, close };
}

/** Waits until a participant has decoded the other's video and audio, and has received a message. @param {Participant} receiver @param {Participant} sender */
async function receivesAll({ identity, events }, sender) {
  const isSender = (/** @type {string} */ publisher) => publisher === sender.identity;
  await Promise.all(['video', 'audio'].map((kind) => events.next(kind, isSender, MEDIA_MS)));
  const text = `from ${sender.identity} to ${identity}`;
  await sender.send(text);
  await events.next('data', (data) => data.identity === sender.identity && data.text === text, MEDIA_MS);
}

module.exports = { MEDIA_MS, receivesAll, startBrowser, startProgram };
