// Loads the addon beside index.js, mints a token and starts the embedded engine: the release does so for every target its
// runner can run.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { createPlatform } = createRequire(import.meta.url)('../index.js');
const platform = createPlatform({ url: 'ws://127.0.0.1:7880', apiKey: 'key', apiSecret: 'no-server-has-this-secret-at-all!' });
const { token } = await platform.media.generateToken('room', { identity: 'smoke', name: 'Smoke' });
assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
await platform.close();
const embedded = createPlatform({ provider: 'embedded' });
const url = await embedded.media.mediaUrl();
const answer = await fetch(url.replace('ws', 'http'));
assert.equal(await answer.text(), 'OK');
await embedded.close();
console.log(`the addon for ${process.platform}-${process.arch} mints tokens, and its engine serves`);
