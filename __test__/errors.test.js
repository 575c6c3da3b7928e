'use strict';

// Every error code, the default timeout, and secrets in errors.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { loadOverCore } = require('./support/broken-core.js');
const { root, runNode } = require('./support/child.js');
const { SECRETS, failureOf, timed } = require('./support/faults.js');
const { FaultServer, halfBody, html, inTurn, reset, silence, twirp, whole } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls } = require('./support/media.js');
const { serve, serveMedia } = require('./support/serve.js');

/** A call with the default timeout, which runs while the other tests run. */
let withDefault;
beforeAll(async () => {
  const server = await FaultServer.start(silence);
  withDefault = timed(() => failureOf(mediaAt(server.url).listRooms())).finally(() => server.close());
});

describe('every error code', () => {
  const occurrences = {
    INVALID_ARGUMENT: () => mediaAt('ws://127.0.0.1:1').createRoom(''),
    INVALID_CONFIG: async () => mediaAt('not a url'),
    URL_NOT_CONFIGURED: () => mediaAt(undefined).listRooms(),
    UNAUTHENTICATED: () => callWith(whole(401, 'text/plain', 'invalid token')),
    PERMISSION_DENIED: () => callWith(twirp(403, 'permission_denied')),
    ROOM_NOT_FOUND: () => callWith(twirp(404, 'not_found'), 'listParticipants'),
    PARTICIPANT_NOT_FOUND: () => callWith(twirp(404, 'not_found'), 'removeParticipant'),
    LIMIT_EXCEEDED: () => callWith(twirp(429, 'resource_exhausted')),
    UNAVAILABLE: () => callWith(html(502)),
    TIMEOUT: () => callWith(silence, 'createRoom', { timeoutMs: 20 }),
    ABORTED: () => mediaAt('ws://127.0.0.1:1').listRooms({ signal: AbortSignal.abort() }),
    BAD_RESPONSE: () => callWith(html(200)),
    UPSTREAM_ERROR: () => callWith(twirp(500, 'internal')),
    INTERNAL: () => brokenCore(),
  };

  async function callWith(answer, method = 'createRoom', options = undefined) {
    const { media } = await serveMedia(answer);
    return roomCalls[method](media, options);
  }

  /** A call whose core throws, as it does after a panic. */
  function brokenCore() {
    const panic = () => {
      throw new Error('panicked');
    };
    return loadOverCore((name) => (/listRooms/i.test(name) ? panic : undefined)).media.listRooms();
  }

  test('in index.d.ts has a test', () => {
    const types = fs.readFileSync(path.join(root, 'index.d.ts'), 'utf8');
    const union = /type MediaErrorCode =([^;]+);/.exec(types)[1];
    expect(Object.keys(occurrences).sort()).toEqual([...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code).sort());
  });

  const retryable = ['UNAVAILABLE', 'TIMEOUT', 'LIMIT_EXCEEDED'];
  test.each(Object.entries(occurrences))('%s', async (code, provoke) => {
    const error = await failureOf(provoke());
    expect(error).toMatchObject({ name: 'MediaError', code, retryable: retryable.includes(code) });
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toHaveProperty('status');
    expect(error).not.toHaveProperty('statusCode');
  });
});

test('the default timeout is 10 seconds', async () => {
  const { outcome, tookMs } = await withDefault;
  expect(outcome.code).toBe('TIMEOUT');
  expect(tookMs).toBeGreaterThanOrEqual(9990);
  expect(tookMs).toBeLessThan(12_000);
});

test('the secret and tokens are not printed, whatever is inspected', async () => {
  const echo = ({ headers, socket }) => whole(401, 'text/plain', `invalid token: ${headers.authorization}`)({ socket });
  const server = await serve(inTurn(echo, html(502), reset, reset, halfBody(reset), halfBody(reset), twirp(500, 'internal'), silence));
  const { code, stdout, stderr } = await runNode(
    `const { inspect } = require('util');
    const { createPlatform } = require(entry);
    const platform = createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret, timeoutMs: 200 })});
    const show = (value) => console.log(inspect(value, { depth: Infinity, showHidden: true, getters: true }), JSON.stringify(value), value);
    (async () => {
      show(platform);
      for (let call = 0; call < 6; call += 1) await platform.media.createRoom('room').catch((error) => (show(error), console.error(error)));
      for (const wrong of ['', '\\0', {}, null]) await platform.media.generateToken(wrong, { identity: 'ann', name: 'Ann' }).catch(show);
      try { createPlatform({ url: 'x', apiKey: 'k', apiSecret: ${JSON.stringify(`${apiSecret}\n`)} }); } catch (error) { show(error); }
      platform.media.createRoom('room');
    })();`,
    { env: { RUST_LOG: 'trace', RUST_BACKTRACE: 'full', NODE_DEBUG: 'http,net,tls' } },
  );
  // The last call is left unhandled, so that Node prints its failure too.
  expect(code).toBe(1);
  expect(stderr).toContain('MediaError');
  for (const secret of SECRETS) {
    expect(stdout).not.toContain(secret);
    expect(stderr).not.toContain(secret);
  }
});
