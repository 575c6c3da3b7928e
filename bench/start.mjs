// Time in ms of the import alone, and of import and first token, in a new process: `node start.mjs <peer>`.
const server = { url: 'ws://127.0.0.1:7880', apiUrl: 'http://127.0.0.1:7880', apiKey: 'key', apiSecret: 'secret' };
const [name] = process.argv.slice(2);

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return { ms: performance.now() - start, result };
}

// Excludes Node.js's loader, which the first CommonJS import starts, and the modules of the bench itself.
await import('./warm.cjs');
const imported = await timed(() => (name === 'ours' ? import('../index.js') : import('livekit-server-sdk')));
const { peers } = await import('./peers.mjs');
const minted = await timed(async () => {
  const peer = await peers[name](server);
  await peer.token('huddle:first', { identity: 'ann', name: 'Ann', canPublish: true, canSubscribe: true, canPublishData: true });
});
console.log(JSON.stringify({ import: imported.ms, value: imported.ms + minted.ms }));
process.exit();
