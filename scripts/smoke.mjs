// Loads the addon beside index.js and mints a token with it: the release does so for every target its runner can run.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { createPlatform } = createRequire(import.meta.url)('../index.js');
const platform = createPlatform({ url: 'ws://127.0.0.1:7880', apiKey: 'key', apiSecret: 'no-server-has-this-secret-at-all!' });
const { token } = await platform.media.generateToken('room', { identity: 'smoke', name: 'Smoke' });
assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
await platform.close();
console.log(`the addon for ${process.platform}-${process.arch} mints tokens`);
