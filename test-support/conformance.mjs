// Runs the conformance suite on a server that it starts: `node test-support/conformance.mjs engine`, or `livekit-server`, then options of Jest.
// Without a name the server is the one that LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET name.
import { ensureAddon } from '../scripts/setup.mjs';
import { main, say } from '../scripts/shell.mjs';
import { startEngine } from './engine.mjs';
import { ensureServers } from './go.mjs';
import { jest } from './jest.mjs';
import livekit from './livekit-server.js';

const servers = {
  async engine() {
    await ensureAddon();
    return startEngine();
  },
  async 'livekit-server'() {
    await ensureServers();
    return livekit.startServer({ config: livekit.EVERYWHERE });
  },
};

/**
 * @param {string} kind
 * @param {string[]} [options] Of jest.
 * @param {(text: string) => unknown} [print]
 */
export async function conformance(kind, options = [], print) {
  const { url, apiKey, apiSecret, stop } = await servers[kind]();
  say(`conformance: ${kind} on ${url}`);
  const env = { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret };
  const count = await jest([...options, '--selectProjects', 'conformance'], { env, print }).finally(stop);
  return { ...count, failures: count.failures?.map((failure) => `${kind}: ${failure}`) };
}

await main(import.meta.url, async ([kind, ...options]) => {
  const isNamed = Object.hasOwn(servers, kind);
  const { passed, failed } = isNamed ? await conformance(kind, options) : await jest([...(kind ? [kind] : []), ...options, '--selectProjects', 'conformance']);
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
});
