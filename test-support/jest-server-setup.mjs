// Plain `npx jest` works too: programs and servers that the tests start are installed first.
import { ensurePrograms } from '../scripts/setup.mjs';
import { ensureServers } from './go.mjs';

export default async function setup() {
  await ensurePrograms(['redis-server', 'faketime', 'openssl', 'chromium-headless-shell', 'ip', 'unshare']);
  await ensureServers();
}
