// node bench/huddle.mjs [react-router | sveltekit]: seconds from `npm start` until two tabs of one browser see each other.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import browser from '../test-support/browser.js';
import processes from '../test-support/processes.js';

const START = fileURLToPath(new URL('../scripts/start.mjs', import.meta.url));
/** Timeout until the app is served, in ms. The first run also compiles the addon. */
const READY_TIMEOUT_MS = 900_000;
/** Timeout of one step in the browser, in ms. */
const STEP_TIMEOUT_MS = 60_000;

const startedAt = Date.now();
const started = processes.launch(process.execPath, [START, ...process.argv.slice(2)], {}, { cwd: path.dirname(START) });
const printElapsed = (what) => console.log(`${((Date.now() - startedAt) / 1000).toFixed(1)} s  ${what}`);

/** Signs in a user at that URL and joins the room. @param {import('puppeteer-core').Page} page @param {string} url @param {string} name */
async function join(page, url, name) {
  const find = (role, label) => page.locator(`::-p-aria([name="${label}"][role="${role}"])`).setTimeout(STEP_TIMEOUT_MS);
  await page.goto(url);
  await find('textbox', 'Your name').fill(name);
  await find('button', 'Continue').click();
  await find('textbox', 'Huddle name').fill('tea');
  await find('button', 'Join').click();
  await find('button', 'Leave').wait();
}

/** Waits until the video of another participant plays. @param {import('puppeteer-core').Page} page @param {string} name */
const sees = (page, name) =>
  page.waitForFunction((name) => document.querySelector(`li[aria-label="${name}"] video`)?.currentTime > 0, { timeout: STEP_TIMEOUT_MS }, name);

let chromium;
try {
  await processes.untilReady(started, async () => started.logs().includes('Ctrl-C ends it'), READY_TIMEOUT_MS);
  printElapsed('the addresses are printed');
  const [first, second] = started.logs().match(/http:\/\/[\w.]+:\d+/g);
  chromium = await browser.launch('chromium');
  printElapsed('Chromium is open');
  const ann = await chromium.newPage();
  await join(ann, first, 'Ann');
  const ben = await chromium.newPage();
  await join(ben, second, 'Ben');
  await sees(ben, 'Ann');
  await ann.bringToFront();
  await sees(ann, 'Ben');
  printElapsed('two tabs see each other');
} finally {
  await chromium?.close();
  await started.stop();
}
