// Plain `npx jest --selectProjects examples` works too: programs, servers and both apps are made ready first.
import { apps, buildExample } from './examples.mjs';
import { ensurePrograms, ensureServers } from './setup.mjs';

export default async function setup() {
  await ensurePrograms();
  await ensureServers();
  for (const name of Object.keys(apps)) await buildExample(/** @type {import('./example-server.js').Name} */ (name));
}
