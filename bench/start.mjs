// From a new process to the first token: `node start.mjs <peer>`. Prints the ms of the import alone, and of all.
import { peers } from './peers.mjs';

const server = { url: 'ws://127.0.0.1:7880', apiUrl: 'http://127.0.0.1:7880', apiKey: 'key', apiSecret: 'secret' };
const [name] = process.argv.slice(2);
// The loader starts before the clock does: no app imports this package, or the SDK, as its first.
await import('./warm.cjs');
const start = performance.now();
if (name === 'ours') await import('../index.js');
else await import('livekit-server-sdk');
const imported = performance.now() - start;
const peer = await peers[name](server);
await peer.token('huddle:first', { identity: 'ann', name: 'Ann', canPublish: true, canSubscribe: true, canPublishData: true });
console.log(JSON.stringify({ import: imported, value: performance.now() - start }));
process.exit();
