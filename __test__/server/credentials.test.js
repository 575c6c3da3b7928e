'use strict';

// Credentials of requests to livekit-server, and the validity of tokens.

const { inspect } = require('node:util');
const { startServer } = require('../../test-support/livekit-server.js');
const { startApp, startClients, withClockOff } = require('./support/processes.js');
const { openMedia } = require('./support/providers.js');

/** @typedef {Awaited<ReturnType<typeof startServer>>} Server */

/** Each room call, with valid arguments. @type {[string, ...unknown[]][]} */
const CALLS = [
  ['createRoom', 'r'],
  ['deleteRoom', 'r'],
  ['listRooms'],
  ['getRoom', 'r'],
  ['updateRoom', 'r', { metadata: 'm' }],
  ['listParticipants', 'r'],
  ['getParticipant', 'r', 'ann'],
  ['updateParticipant', 'r', 'ann', { canPublish: false }],
  ['muteParticipant', 'r', 'ann'],
  ['sendData', 'r', 'hello'],
  ['removeParticipant', 'r', 'ann'],
];

describe('credentials', () => {
  /** @type {Server} */
  let server;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server?.stop());

  /** All texts that a log can get from an error. @param {any} error */
  const shown = (error) =>
    [error.message, error.stack, String(error), inspect(error, { depth: 9, showHidden: true }), JSON.stringify(error)].join('\n');

  const wrong = {
    'a wrong secret': () => ({ url: server.url, apiKey: server.apiKey, apiSecret: 'not-the-secret-of-this-server-at-all' }),
    'an unknown key': () => ({ url: server.url, apiKey: 'APIunknown', apiSecret: server.apiSecret }),
  };

  describe.each(Object.entries(wrong))('with %s', (_name, options) => {
    test.each(CALLS)('%s is UNAUTHENTICATED, and the error shows neither secret nor token', async (method, ...args) => {
      const media = /** @type {any} */ (openMedia(options()));
      const error = await media[method](...args).catch((/** @type {unknown} */ caught) => caught);
      expect(error).toMatchObject({ code: 'UNAUTHENTICATED', operation: method, retryable: false, upstreamStatus: 401 });
      expect(error.requestId).toMatch(/^[\w-]{8,}$/);
      expect(shown(error)).not.toContain(options().apiSecret);
      // Each part of a JWT starts so: base64 of `{"`.
      expect(shown(error)).not.toMatch(/eyJ/);
    });
  });

  describe('with the client’s clock', () => {
    /** @param {string} shift */
    async function callAt(shift) {
      const { url, apiKey, apiSecret } = server;
      const app = await startApp({ url, apiKey, apiSecret }, withClockOff(shift));
      try {
        return await app.run('createRoom', `clock ${shift}`);
      } finally {
        await app.stop();
      }
    }

    test.each(['+5m', '-5m'])('off by %s calls are UNAUTHENTICATED', async (shift) => {
      const { error } = await callAt(shift);
      expect(error).toMatchObject({ code: 'UNAUTHENTICATED', retryable: false, upstreamStatus: 401, isMediaError: true });
      expect(error.shown).not.toContain(server.apiSecret);
      expect(error.shown).not.toMatch(/eyJ/);
    });

    test.each(['+30s', '-30s', '+0s'])('off by %s calls succeed', async (shift) => {
      expect(await callAt(shift)).toMatchObject({ value: { name: `clock ${shift}` } });
    });
  });
});

describe('a token', () => {
  /** @type {Server} */
  let strict;
  /** @type {Server} */
  let lax;
  /** @type {Awaited<ReturnType<typeof startClients>>} */
  let clients;
  const ann = { identity: 'ann', name: 'Ann' };

  beforeAll(async () => {
    [strict, lax, clients] = await Promise.all([startServer({ config: { room: { auto_create: false } } }), startServer(), startClients()]);
  });
  afterAll(async () => {
    await clients?.stop();
    await Promise.all([strict?.stop(), lax?.stop()]);
  });

  const open = (/** @type {Server} */ { url, apiKey, apiSecret }) => openMedia({ url, apiKey, apiSecret });

  test('joins a room only while it exists, without auto_create', async () => {
    const media = open(strict);
    const minted = await media.generateToken('strict', ann);
    await expect(clients.join(minted)).rejects.toThrow('404');
    await media.createRoom('strict');
    const joined = await clients.join(minted);
    await media.deleteRoom('strict');
    expect(await joined.next('disconnected')).toBe('ROOM_DELETED');
    await expect(clients.join(minted)).rejects.toThrow('404');
    await media.createRoom('strict');
    await clients.join(minted);
  });

  test('creates a deleted room again with auto_create, which is LiveKit’s default', async () => {
    const media = open(lax);
    await media.createRoom('lax');
    const minted = await media.generateToken('lax', ann);
    await media.deleteRoom('lax');
    await clients.join(minted);
    expect(await media.listRooms()).toMatchObject([{ name: 'lax' }]);
  });

  test('is rejected after its expiry, and accepted before', async () => {
    const { url, apiKey, apiSecret } = lax;
    // The server's leeway is a minute, so the token must be older than that.
    const app = await startApp({ url, apiKey, apiSecret }, withClockOff('-3m'));
    try {
      const expired = (await app.run('generateToken', 'times', { ...ann, ttlSecs: 60 })).value;
      const valid = (await app.run('generateToken', 'times', { ...ann, ttlSecs: 600 })).value;
      await expect(clients.join(expired)).rejects.toThrow('401');
      await clients.join(valid);
    } finally {
      await app.stop();
    }
  });

  test('signed with another secret is rejected', async () => {
    const { token } = await openMedia({ url: lax.url, apiKey: lax.apiKey, apiSecret: 'another'.repeat(5) }).generateToken('any', ann);
    await expect(clients.join({ url: lax.url, token })).rejects.toThrow('401');
  });

  test('of generateToken does not authorize calls of the room service', async () => {
    const { token } = await open(lax).generateToken('lax', ann);
    for (const method of ['CreateRoom', 'ListRooms', 'DeleteRoom', 'ListParticipants']) {
      const response = await fetch(`${lax.apiUrl}/twirp/livekit.RoomService/${method}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'lax', room: 'lax' }),
      });
      expect(response.status).toBe(401);
    }
  });
});
