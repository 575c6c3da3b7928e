'use strict';

// The routes, over HTTP: valid requests and attacks.

const { once } = require('node:events');
const http = require('node:http');
const { eventually, pause } = require('../../../test-support/eventually.js');
const { BUILT_ORIGIN, startExample } = require('../../../test-support/example-server.js');
const { HttpClient, claimsOf } = require('../support/http-client.js');
const { SESSION_SECRET, serveWith, useApp } = require('../support/use-app.js');

/** Maximum time of a shutdown. */
const STOP_MS = 15_000;
/** Without requests for this time polling has stopped: the app polls each second. */
const QUIET_MS = 2_500;

/** Starts a media server without rooms that counts requests. */
async function startCounter() {
  const counter = { requests: 0 };
  const server = http.createServer((request, response) => {
    counter.requests += 1;
    request.resume();
    response.writeHead(200, { 'content-type': 'application/protobuf' }).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const env = { LIVEKIT_URL: `ws://127.0.0.1:${server.address().port}`, LIVEKIT_API_KEY: 'key', LIVEKIT_API_SECRET: 'a-secret-that-no-server-has-long-enough' };
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return Object.assign(counter, { env, stop });
}

/** @param {import('../support/use-app.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeRoutes(browsers, name) {
  const suite = useApp(browsers, serveWith(name, 'the embedded engine'));

  it('without a session routes respond with 401, and a page redirects to the sign-in and back', async () => {
    const guest = suite.httpClient();
    for (const route of ['join', 'remove', 'end']) {
      expect({ route, status: (await guest.post(`/api/huddles/any/${route}`)).status }).toEqual({ route, status: 401 });
    }
    expect((await guest.get('/api/roster')).status).toBe(401);
    const location = (await guest.get('/huddles/any?listen')).headers.get('location');
    expect(location).toMatch(/^\/\?next=/);
    const back = await guest.signIn('Ann', location);
    const { origin, pathname, searchParams } = new URL(back.headers.get('location'), suite.app().url);
    expect({ origin, pathname, query: [...searchParams] }).toEqual({ origin: suite.app().url, pathname: '/huddles/any', query: [['listen', '']] });
  });

  it('after the sign-in only this site is redirected to', async () => {
    for (const next of ['//example.com/', 'https://example.com/', '/\\example.com', '/.//example.com', '\\\\example.com', 'javascript:alert(1)']) {
      const back = await suite.httpClient().signIn('Ann', `/?next=${encodeURIComponent(next)}`);
      const { origin } = new URL(back.headers.get('location') ?? '/', suite.app().url);
      expect({ next, origin }).toEqual({ next, origin: suite.app().url });
    }
  });

  it('the identity in the token is that of the session, whatever the form contains', async () => {
    const [ann, ben] = [await suite.signedInClient('Ann'), await suite.signedInClient('Ben')];
    const join = async (guest, form) => {
      const response = await guest.post('/api/huddles/any/join?identity=eve', form);
      expect({ status: response.status, cache: response.headers.get('cache-control') }).toEqual({ status: 200, cache: 'no-store' });
      return response.json();
    };
    const first = await join(ann, {});
    expect(first).toEqual({ token: expect.any(String), url: expect.stringMatching(/^ws:/), roomId: 'huddle:any' });
    const claims = claimsOf(first.token);
    expect(claims).toMatchObject({ name: 'Ann', video: { room: 'huddle:any', roomJoin: true, canPublish: true } });
    const forged = claimsOf((await join(ann, { identity: 'eve', id: 'eve', name: 'Eve', user: 'eve' })).token);
    expect(forged).toMatchObject({ sub: claims.sub, name: 'Ann' });
    expect(claimsOf((await join(ben, { identity: claims.sub })).token).sub).not.toBe(claims.sub);
    expect(claimsOf((await join(ann, { listen: '' })).token)).toMatchObject({ sub: claims.sub, video: { canPublish: false } });
  });

  it('a forged or changed session is rejected', async () => {
    for (const change of [(value) => value.slice(0, -4), (value) => `x${value}`, () => Buffer.from(JSON.stringify({ id: 'eve', name: 'Eve' })).toString('base64')]) {
      const eve = await suite.signedInClient('Eve');
      eve.changeCookies(change);
      expect((await eve.post('/api/huddles/any/join')).status).toBe(401);
    }
  });

  it('the cookie is HttpOnly and SameSite=Lax', async () => {
    const response = await suite.httpClient().signIn('Ann');
    const [cookie] = response.headers.getSetCookie();
    expect(cookie).toMatch(/; *HttpOnly/i);
    expect(cookie).toMatch(/; *SameSite=Lax/i);
  });

  it('invalid names are rejected', async () => {
    const ann = await suite.signedInClient('Ann');
    for (const huddle of ['Caps', '-a', 'a'.repeat(41), 'a%20b', 'a_b', 'a%00']) {
      expect({ huddle, status: (await ann.post(`/api/huddles/${huddle}/join`)).status }).toEqual({ huddle, status: 400 });
    }
    for (const huddle of ['a', '7', 'a'.repeat(40), 'a-b-']) {
      expect({ huddle, status: (await ann.post(`/api/huddles/${huddle}/join`)).status }).toEqual({ huddle, status: 200 });
    }
    const page = await ann.get('/huddles/Caps');
    expect({ status: page.status, text: await page.text() }).toEqual({ status: 400, text: expect.stringContaining('lowercase letters, digits and dashes') });
    const nowhere = await ann.get('/nowhere');
    expect(nowhere.status).toBe(404);
    expect(await nowhere.text()).toMatch(/<h1[^>]*>Not Found<\/h1>/);
    for (const person of ['', '   ', 'a'.repeat(41)]) {
      const guest = await suite.signedInClient(person);
      expect({ person, status: (await guest.post('/api/huddles/any/join')).status }).toEqual({ person, status: 401 });
    }
  });

  it('remove and end respond with 403 to a visitor outside the room', async () => {
    const ann = await suite.signedInClient('Ann');
    await ann.post('/api/huddles/any/join');
    for (const route of ['remove', 'end']) {
      expect({ route, status: (await ann.post(`/api/huddles/any/${route}`, { identity: 'x' })).status }).toEqual({ route, status: 403 });
    }
  });

  it('cross-site requests are rejected', async () => {
    const ann = await suite.signedInClient('Ann');
    for (const route of ['join', 'remove', 'end']) {
      const headers = { origin: 'https://elsewhere.example', 'sec-fetch-site': 'cross-site' };
      const { status } = await ann.request('POST', `/api/huddles/any/${route}`, { form: { identity: 'x' }, headers });
      expect({ route, status }).toEqual({ route, status: 403 });
    }
  });

  it('remove responds with 400 without an identity', async () => {
    const ann = await suite.signedInClient('Ann');
    for (const form of [undefined, {}, { identity: '' }]) {
      const { status } = await ann.request('POST', '/api/huddles/any/remove', { form });
      expect({ form, status }).toEqual({ form, status: 400 });
    }
  });

  it('behind an HTTPS proxy the sign-in works, and the cookie is Secure', async () => {
    const app = await startExample(name, { env: { SESSION_SECRET, ORIGIN: BUILT_ORIGIN } });
    try {
      const response = await new HttpClient(app.url, BUILT_ORIGIN).signIn('Ann');
      expect([302, 303]).toContain(response.status);
      expect(response.headers.getSetCookie()).toEqual([expect.stringMatching(/; *Secure/i)]);
    } finally {
      await app.stop();
    }
  });

  it('an open lobby does not delay a shutdown', async () => {
    const app = await startExample(name, { env: { SESSION_SECRET, MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_PORT: '0' } });
    try {
      const ann = new HttpClient(app.url);
      await ann.signIn('Ann');
      const { body } = await ann.get('/api/roster');
      const reader = body.getReader();
      await reader.read();
      const ended = once(app.child, 'close');
      app.child.kill('SIGTERM');
      const timeout = pause(STOP_MS).then(() => 'running');
      expect(await Promise.race([ended.then(() => 'ended'), timeout])).toBe('ended');
      // The stream ends without an error.
      while (!(await reader.read()).done);
    } finally {
      await app.stop();
    }
  });

  it('the media server is polled only while a lobby is open', async () => {
    const counter = await startCounter();
    const app = await startExample(name, { env: { SESSION_SECRET, ...counter.env } });
    try {
      const ann = new HttpClient(app.url);
      await ann.signIn('Ann');
      const gone = new AbortController();
      const roster = await ann.request('GET', '/api/roster', { signal: gone.signal });
      const before = counter.requests;
      await eventually('the server is polled', () => counter.requests, (requests) => expect(requests).toBeGreaterThan(before + 1));
      // Keeps a reference: an unreferenced response could be closed by garbage collection.
      expect(roster.bodyUsed).toBe(false);
      gone.abort();
      await ann.request('HEAD', '/api/roster');
      const newRequests = async () => {
        const { requests } = counter;
        await pause(QUIET_MS);
        return counter.requests - requests;
      };
      await eventually('polling has stopped', newRequests, (requests) => expect(requests).toBe(0));
    } finally {
      await app.stop();
      counter.stop();
    }
  });

  it('the roster is an event stream', async () => {
    const ann = await suite.signedInClient('Ann');
    const gone = new AbortController();
    const response = await ann.request('GET', '/api/roster', { headers: { accept: 'text/event-stream' }, signal: gone.signal });
    expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({ status: 200, type: expect.stringMatching(/^text\/event-stream/) });
    const { value } = await response.body.getReader().read();
    expect(Buffer.from(value).toString()).toContain('data: []');
    gone.abort();
    expect((await ann.get('/')).status).toBe(200);
  });
}

module.exports = { describeRoutes };
