// Plain `npx jest` works too: what the tests on real servers start is installed first.
import { ensurePrograms, ensureServers } from '../scripts/setup.mjs';

export default async function setup() {
  await ensurePrograms();
  await ensureServers();
}
