// Starts the Chromium that all test files of a run share: each page has a browser context of its own. jest-browser-teardown.mjs ends it.
import { ensurePrograms } from '../scripts/setup.mjs';
import browsers from './browser.js';

export default async function setup() {
  if (process.env.TEST_CHROMIUM) return;
  await ensurePrograms(['chromium']);
  globalThis.sharedChromium = await browsers.launch('chromium');
  // Jest's workers inherit it.
  process.env.TEST_CHROMIUM = globalThis.sharedChromium.wsEndpoint();
}
