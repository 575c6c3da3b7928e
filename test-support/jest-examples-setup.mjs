// Plain `npx jest --selectProjects examples` works too: programs, servers and both apps are made ready first.
import { apps, buildExample, ensureTarballs } from './examples.mjs';
import { ensurePrograms, ensureServers } from '../scripts/setup.mjs';

export default async function setup() {
  await ensurePrograms();
  await ensureServers();
  await ensureTarballs();
  // At once: half of it waits for the network.
  await Promise.all(Object.keys(apps).map((name) => buildExample(/** @type {import('./example-server.js').Name} */ (name))));
}
