// npm run conformance: the black-box suite, against the server that LIVEKIT_URL names, else against livekit-server and the engine alike.
import { startEngine } from '../test-support/engine.mjs';
import { jest } from './jest.mjs';
import livekit from '../test-support/livekit-server.js';
import { ensureAddon, ensurePrograms, ensureServers } from './setup.mjs';
import { isMain, report, say } from './shell.mjs';

const servers = { 'livekit-server': () => livekit.startServer({ config: livekit.EVERYWHERE }), 'the engine': startEngine };

/** Runs the suite once against each server. @returns {Promise<import('./jest.mjs').Count>} */
export async function conformance() {
  await ensurePrograms();
  await ensureServers();
  await ensureAddon();
  const total = { passed: 0, failed: 0, stories: [] };
  for (const [name, start] of Object.entries(servers)) {
    const { url, apiKey, apiSecret, stop } = await start();
    say(`conformance: ${name} on ${url}`);
    const env = { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret };
    const count = await runSuite(env).finally(stop);
    total.passed += count.passed;
    total.failed += count.failed;
    total.stories.push(...(count.stories ?? []).map((story) => `${name}: ${story}`));
  }
  return total;
}

/** @param {Record<string, string>} [env] */
const runSuite = (env) => jest(['--selectProjects', 'conformance'], env);

if (isMain(import.meta.url)) {
  try {
    const { passed, failed } = await (process.env.LIVEKIT_URL ? runSuite() : conformance());
    console.log(`\n${passed} passed, ${failed} failed`);
    process.exitCode = failed > 0 ? 1 : 0;
  } catch (error) {
    process.exitCode = report(error);
  }
}
