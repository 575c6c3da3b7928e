// From a new process to the first token: `node start.mjs <peer>`. Prints the ms of the import alone, and of all.
const server = { url: 'ws://127.0.0.1:7880', apiUrl: 'http://127.0.0.1:7880', apiKey: 'key', apiSecret: 'secret' };
const [name] = process.argv.slice(2);

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return { ms: performance.now() - start, result };
}

// Not counted: Node's own loader, which the first CommonJS module pays for, and what only the bench loads.
await import('./warm.cjs');
const imported = await timed(() => (name === 'ours' ? import('../index.js') : import('livekit-server-sdk')));
const { peers } = await import('./peers.mjs');
const minted = await timed(async () => {
  const peer = await peers[name](server);
  await peer.token('huddle:first', { identity: 'ann', name: 'Ann', canPublish: true, canSubscribe: true, canPublishData: true });
});
console.log(JSON.stringify({ import: imported.ms, value: imported.ms + minted.ms }));
process.exit();
