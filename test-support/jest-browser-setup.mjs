// Starts a Chromium for each of Jest's workers, which its test files share: each page has a browser context of its own. Not one for all workers, because
// pages that capture at the same time share the fake camera, and its size is that of the first. jest-browser-teardown.mjs ends them.
import { ensurePrograms } from '../scripts/setup.mjs';
import browsers from './browser.js';

/** @param {{ maxWorkers: number }} config */
export default async function setup({ maxWorkers }) {
  if (process.env.TEST_CHROMIUM) return;
  await ensurePrograms(['chromium-headless-shell']);
  globalThis.sharedChromium = await Promise.all(Array.from({ length: maxWorkers }, () => browsers.launch('chromium')));
  // Jest's workers inherit it.
  process.env.TEST_CHROMIUM = globalThis.sharedChromium.map((browser) => browser.wsEndpoint()).join();
}
