// Plain `npx jest --selectProjects examples` works too: the apps are installed and built first. TEST_CHROMIUM_ONLY: no test needs Firefox or Go.
import { ensurePrograms } from '../scripts/setup.mjs';
import { prepareExamples } from './examples.mjs';
import { ensureServers } from './go.mjs';
import startBrowser from './jest-browser-setup.mjs';

/** @param {{ maxWorkers: number }} config */
export default async function setup(config) {
  if (!process.env.TEST_CHROMIUM_ONLY) {
    await ensurePrograms(['firefox-esr']);
    await ensureServers();
  }
  await prepareExamples();
  await startBrowser(config);
}
