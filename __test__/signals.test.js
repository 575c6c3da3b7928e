'use strict';

// Aborting calls with an AbortSignal.

require('./support/environment.js');
const { getEventListeners, once } = require('node:events');
const { resultOf } = require('./support/child.js');
const { failureOf } = require('./support/faults.js');
const { halfBody, halfHead, healthy, held, silence, twirp } = require('./support/fault-server.js');
const { apiKey, apiSecret, roomCalls } = require('./support/media.js');
const { serve, serveMedia } = require('./support/serve.js');

describe('an AbortSignal', () => {
  const all = {
    ...roomCalls,
    generateToken: (media, options) => media.generateToken('room', { identity: 'ann', name: 'Ann' }, options),
    mediaUrl: (media, options) => media.mediaUrl(options),
  };

  test.each(Object.entries(all))('aborted before the call: nothing is sent: %s', async (operation, call) => {
    const { server, media } = await serveMedia();
    const reason = { why: 'not needed' };
    const error = await failureOf(call(media, { signal: AbortSignal.abort(reason) }));
    expect(error).toMatchObject({ code: 'ABORTED', operation, retryable: false });
    expect(error.cause).toBe(reason);
    expect(server.connections).toBe(0);
  });

  test.each(Object.entries(roomCalls))('aborted during the call closes the connection: %s', async (operation, call) => {
    const { server, media } = await serveMedia(silence);
    const aborting = new AbortController();
    const failing = failureOf(call(media, { signal: aborting.signal }));
    const { socket } = await server.received(1);
    expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(1);
    const closed = new Promise((resolve) => server.on('closed', (ended) => ended === socket && resolve()));
    const reason = new Error('the visitor left');
    aborting.abort(reason);
    const error = await failing;
    expect(error).toMatchObject({ code: 'ABORTED', operation, retryable: false });
    expect(error.cause).toBe(reason);
    expect(getEventListeners(aborting.signal, 'abort')).toHaveLength(0);
    await closed;
  });

  test.each([
    ['half of the headers', halfHead(silence)],
    ['half of the body', halfBody(silence)],
  ])('aborted after %s closes the connection', async (_, answer) => {
    const { server, media } = await serveMedia(answer);
    const aborting = new AbortController();
    const failing = failureOf(media.listRooms({ signal: aborting.signal }));
    await server.received(1);
    const closed = once(server, 'closed');
    aborting.abort();
    expect((await failing).code).toBe('ABORTED');
    await closed;
  });

  test('of AbortSignal.timeout(): the TimeoutError is the cause', async () => {
    const { media } = await serveMedia(silence);
    const error = await failureOf(media.listRooms({ signal: AbortSignal.timeout(40) }));
    expect(error.code).toBe('ABORTED');
    expect(error.cause.name).toBe('TimeoutError');
  });

  test('removes a queued call, which is then not sent', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const first = Array.from({ length: 64 }, () => media.listRooms());
    await server.received(64);
    const aborting = new AbortController();
    const queued = failureOf(media.listParticipants('queued', { signal: aborting.signal }));
    const last = media.listParticipants('last');
    aborting.abort();
    expect((await queued).code).toBe('ABORTED');
    server.respond = healthy();
    hold.releaseAll();
    await Promise.all([...first, last]);
    expect(server.requests.map(({ room }) => room)).not.toContain('queued');
  });

  test('has no listener after success and after failure', async () => {
    const { server, media } = await serveMedia();
    const { signal } = new AbortController();
    for (const call of Object.values(all)) await call(media, { signal });
    server.respond = twirp(500, 'internal');
    for (const call of Object.values(roomCalls)) await failureOf(call(media, { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('aborts all pending calls that share it, after one has succeeded', async () => {
    const { server, media } = await serveMedia((exchange) => (exchange.room === 'quick' ? healthy() : silence)(exchange));
    const aborting = new AbortController();
    const { signal } = aborting;
    const pending = ['a', 'b'].map((room) => failureOf(media.listParticipants(room, { signal })));
    await media.listParticipants('quick', { signal });
    await server.received(3);
    aborting.abort();
    for (const error of await Promise.all(pending)) expect(error.code).toBe('ABORTED');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('can be shared by 60 calls without a warning, and aborted afterwards', async () => {
    const server = await serve();
    const { warnings } = await resultOf(
      `const { media } = require(entry).createPlatform(${JSON.stringify({ url: server.url, apiKey, apiSecret })});
      const warnings = [];
      process.on('warning', ({ message }) => warnings.push(message));
      (async () => {
        const aborting = new AbortController();
        const options = { signal: aborting.signal };
        await Promise.all(Array.from({ length: 60 }, () => media.listRooms(options)));
        aborting.abort();
        await new Promise(setImmediate);
        console.log(JSON.stringify({ warnings }));
      })();`,
    );
    expect(warnings).toEqual([]);
  });

  test('of one call does not abort other calls', async () => {
    const hold = held();
    const { server, media } = await serveMedia(hold);
    const aborting = new AbortController();
    const leaving = failureOf(media.listParticipants('room', { signal: aborting.signal }));
    const staying = media.listParticipants('room');
    await server.received(2);
    aborting.abort();
    expect((await leaving).code).toBe('ABORTED');
    hold.releaseAll();
    expect(await staying).toEqual([]);
  });
});
