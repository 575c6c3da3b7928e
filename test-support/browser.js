'use strict';

// Launches headless Chromium and Firefox with fake devices, and serves a page with livekit-client.

const { existsSync, readFileSync } = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const puppeteer = require('puppeteer-core');

/** @typedef {'chromium' | 'firefox'} Kind */

const client = path.dirname(require.resolve('livekit-client'));
const page = path.join(__dirname, '../conformance/support/page');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };
const FILES = {
  '/': path.join(page, 'index.html'),
  '/media.js': path.join(page, 'media.js'),
  '/state.js': path.join(page, 'state.js'),
  '/participant.js': path.join(page, 'participant.js'),
  '/livekit-client.umd.js': path.join(client, 'livekit-client.umd.js'),
  '/livekit-client.e2ee.worker.js': path.join(client, 'livekit-client.e2ee.worker.js'),
};

/**
 * Listener of a server that serves a page.
 * @param {Record<string, string>} [paths] The file of each URL path; default: the page of the conformance tests.
 * @returns {http.RequestListener}
 */
function pageListener(paths = FILES) {
  const files = new Map(Object.entries(paths).map(([name, file]) => [name, { type: TYPES[path.extname(file)], body: readFileSync(file) }]));
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = files.get(pathname);
    response.writeHead(file ? 200 : 404, file && { 'content-type': `${file.type}; charset=utf-8` });
    response.end(file?.body);
  };
}

/**
 * Serves a page on a free port.
 * @param {Record<string, string>} [paths] As for {@link pageListener}.
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
async function servePage(paths) {
  const server = http.createServer(pageListener(paths));
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve(undefined)));
  };
  return { url: `http://127.0.0.1:${port}/`, close };
}

const CHROMIUM = [
  // Chromium's sandbox does not work for root.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  '--use-fake-device-for-media-stream=fps=15',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Several pages run at once, and none is in front: background pages must not be throttled.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-gpu',
  // Otherwise each window fills the suggestion lists of its address bar, which takes most of a second of CPU.
  '--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess',
];

const FIREFOX = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  // Background pages must not be throttled.
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
  'media.suspend-background-video.enabled': false,
};

// The first of them that is installed. Debian's headless shell is the same Chromium without its windows, and opens a page in a sixth of the time.
const PROGRAMS = { chromium: ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'], firefox: ['firefox-esr', 'firefox'] };

/** @param {Kind} kind */
function programOf(kind) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const files = PROGRAMS[kind].flatMap((name) => folders.map((folder) => path.join(folder, name)));
  const found = files.find((file) => existsSync(file));
  if (found) return found;
  throw new Error(`none of ${PROGRAMS[kind].join(', ')} is on the PATH`);
}

/** @param {Kind} kind @param {string[]} [more] Additional arguments. @returns {Promise<import('puppeteer-core').Browser>} */
async function launch(kind, more = []) {
  const browser = kind === 'chromium' ? 'chrome' : 'firefox';
  const program = programOf(kind);
  const headless = /** @type {const} */ (path.basename(program) === 'chromium-headless-shell' ? 'shell' : true);
  const options = { browser, headless, args: [...(kind === 'chromium' ? CHROMIUM : []), ...more], extraPrefsFirefox: FIREFOX };
  // On Linux the kernel then kills the browser when this process dies.
  const setpriv = '/usr/bin/setpriv';
  if (!existsSync(setpriv)) return puppeteer.launch({ ...options, executablePath: program });
  const args = ['--pdeathsig', 'KILL', program, ...puppeteer.defaultArgs(options)];
  return puppeteer.launch({ ...options, executablePath: setpriv, ignoreDefaultArgs: true, args });
}

/**
 * The Chromium that the worker's test files share, or a browser of this test file's own: Firefox accepts one client only. `close` leaves the shared one
 * running.
 * @param {Kind} kind
 * @returns {Promise<import('puppeteer-core').Browser>}
 */
async function openBrowser(kind) {
  const { JEST_WORKER_ID = '1', TEST_CHROMIUM, TEST_CHROMIUM_ONLY } = process.env;
  if (kind === 'firefox' && !TEST_CHROMIUM_ONLY) return launch(kind);
  if (!TEST_CHROMIUM) return launch('chromium');
  const browser = await puppeteer.connect({ browserWSEndpoint: TEST_CHROMIUM.split(',')[Number(JEST_WORKER_ID) - 1] });
  return Object.assign(browser, { close: () => browser.disconnect() });
}

module.exports = { launch, openBrowser, pageListener, servePage };
