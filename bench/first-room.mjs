// Time in ms from the start of a server to the first room: `node first-room.mjs embedded|livekit`.
import { createRequire } from 'node:module';
import livekit from '../test-support/livekit-server.js';

const require = createRequire(import.meta.url);
const start = performance.now();
const server = process.argv[2] === 'livekit' ? await livekit.startServer({ config: { logging: { level: 'error' } } }) : undefined;
const { createPlatform } = require('../index.js');
const { media } = createPlatform(server ? { url: server.url, apiKey: server.apiKey, apiSecret: server.apiSecret } : { provider: 'embedded' });
await media.createRoom('huddle:first');
console.log(JSON.stringify({ value: performance.now() - start }));
await server?.stop();
process.exit();
