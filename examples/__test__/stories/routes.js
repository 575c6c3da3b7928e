'use strict';

// The routes, asked over HTTP by those who mean well and those who do not.

const { once } = require('node:events');
const http = require('node:http');
const { eventually, pause } = require('../../../test-support/eventually.js');
const { BUILT_ORIGIN, startExample } = require('../../../test-support/example-server.js');
const { Guest, claimsOf } = require('../support/guest.js');
const { SESSION_SECRET, serveWith, setHouse } = require('../support/house.js');

/** Ending takes no longer. */
const STOP_MS = 15_000;
/** No request for so long is the end of all: the roster is asked for each second. */
const QUIET_MS = 2_500;

/** A media server that knows of no room, and counts what it is asked. */
async function startCounter() {
  const counter = { asked: 0 };
  const server = http.createServer((request, response) => {
    counter.asked += 1;
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

/** @param {import('../support/house.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeRoutes(browsers, name) {
  const house = setHouse(browsers, serveWith(name, 'the embedded engine'));

  it('whoever has not signed in is not let in, and comes back to the huddle after', async () => {
    const guest = house.guest();
    for (const route of ['join', 'remove', 'end']) {
      expect({ route, status: (await guest.posts(`/api/huddles/any/${route}`)).status }).toEqual({ route, status: 401 });
    }
    expect((await guest.gets('/api/roster')).status).toBe(401);
    const location = (await guest.gets('/huddles/any?listen')).headers.get('location');
    expect(location).toMatch(/^\/\?next=/);
    const back = await guest.signsIn('Ann', location);
    const { origin, pathname, searchParams } = new URL(back.headers.get('location'), house.app().url);
    expect({ origin, pathname, query: [...searchParams] }).toEqual({ origin: house.app().url, pathname: '/huddles/any', query: [['listen', '']] });
  });

  it('only this site is come back to', async () => {
    for (const next of ['//example.com/', 'https://example.com/', '/\\example.com', '/.//example.com', '\\\\example.com', 'javascript:alert(1)']) {
      const back = await house.guest().signsIn('Ann', `/?next=${encodeURIComponent(next)}`);
      const { origin } = new URL(back.headers.get('location') ?? '/', house.app().url);
      expect({ next, origin }).toEqual({ next, origin: house.app().url });
    }
  });

  it('the identity in the token is the session\'s, whatever the client says', async () => {
    const [ann, ben] = [await house.member('Ann'), await house.member('Ben')];
    const join = async (guest, form) => {
      const response = await guest.posts('/api/huddles/any/join?identity=eve', form);
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

  it('a session that somebody else has written or changed is none', async () => {
    for (const change of [(value) => value.slice(0, -4), (value) => `x${value}`, () => Buffer.from(JSON.stringify({ id: 'eve', name: 'Eve' })).toString('base64')]) {
      const eve = await house.member('Eve');
      eve.forges(change);
      expect((await eve.posts('/api/huddles/any/join')).status).toBe(401);
    }
  });

  it('the cookie is out of reach for scripts and for other sites', async () => {
    const answer = await house.guest().signsIn('Ann');
    const [cookie] = answer.headers.getSetCookie();
    expect(cookie).toMatch(/; *HttpOnly/i);
    expect(cookie).toMatch(/; *SameSite=Lax/i);
  });

  it('a name that is none is refused', async () => {
    const ann = await house.member('Ann');
    for (const huddle of ['Caps', '-a', 'a'.repeat(41), 'a%20b', 'a_b', 'a%00']) {
      expect({ huddle, status: (await ann.posts(`/api/huddles/${huddle}/join`)).status }).toEqual({ huddle, status: 400 });
    }
    for (const huddle of ['a', '7', 'a'.repeat(40), 'a-b-']) {
      expect({ huddle, status: (await ann.posts(`/api/huddles/${huddle}/join`)).status }).toEqual({ huddle, status: 200 });
    }
    const page = await ann.gets('/huddles/Caps');
    expect({ status: page.status, text: await page.text() }).toEqual({ status: 400, text: expect.stringContaining('lowercase letters, digits and dashes') });
    const nowhere = await ann.gets('/nowhere');
    expect(nowhere.status).toBe(404);
    expect(await nowhere.text()).toMatch(/<h1[^>]*>Not Found<\/h1>/);
    for (const person of ['', '   ', 'a'.repeat(41)]) {
      const guest = await house.member(person);
      expect({ person, status: (await guest.posts('/api/huddles/any/join')).status }).toEqual({ person, status: 401 });
    }
  });

  it('only who is in the room may remove or end', async () => {
    const ann = await house.member('Ann');
    await ann.posts('/api/huddles/any/join');
    for (const route of ['remove', 'end']) {
      expect({ route, status: (await ann.posts(`/api/huddles/any/${route}`, { identity: 'x' })).status }).toEqual({ route, status: 403 });
    }
  });

  it('pages of other sites can do nothing in a visitor\'s name', async () => {
    const ann = await house.member('Ann');
    for (const route of ['join', 'remove', 'end']) {
      const headers = { origin: 'https://elsewhere.example', 'sec-fetch-site': 'cross-site' };
      const { status } = await ann.asks('POST', `/api/huddles/any/${route}`, { form: { identity: 'x' }, headers });
      expect({ route, status }).toEqual({ route, status: 403 });
    }
  });

  it('whoever is to be removed has to be named', async () => {
    const ann = await house.member('Ann');
    for (const form of [undefined, {}, { identity: '' }]) {
      const { status } = await ann.asks('POST', '/api/huddles/any/remove', { form });
      expect({ form, status }).toEqual({ form, status: 400 });
    }
  });

  it('behind a proxy that speaks https one can sign in, and the cookie goes over https alone', async () => {
    const app = await startExample(name, { env: { SESSION_SECRET, ORIGIN: BUILT_ORIGIN } });
    try {
      const answer = await new Guest(app.url, BUILT_ORIGIN).signsIn('Ann');
      expect([302, 303]).toContain(answer.status);
      expect(answer.headers.getSetCookie()).toEqual([expect.stringMatching(/; *Secure/i)]);
    } finally {
      await app.stop();
    }
  });

  it('an open lobby does not hold up a server that is to end', async () => {
    const app = await startExample(name, { env: { SESSION_SECRET, MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_PORT: '0' } });
    try {
      const ann = new Guest(app.url);
      await ann.signsIn('Ann');
      const { body } = await ann.gets('/api/roster');
      const reader = body.getReader();
      await reader.read();
      const ended = once(app.child, 'close');
      app.child.kill('SIGTERM');
      const late = pause(STOP_MS).then(() => 'it still runs');
      expect(await Promise.race([ended.then(() => 'it has ended'), late])).toBe('it has ended');
      // The stream has an end, and is not cut off.
      while (!(await reader.read()).done);
    } finally {
      await app.stop();
    }
  });

  it('the media server is asked while somebody looks at the lobby, and no longer', async () => {
    const counter = await startCounter();
    const app = await startExample(name, { env: { SESSION_SECRET, ...counter.env } });
    try {
      const ann = new Guest(app.url);
      await ann.signsIn('Ann');
      const gone = new AbortController();
      const roster = await ann.asks('GET', '/api/roster', { signal: gone.signal });
      const before = counter.asked;
      await eventually('it is asked', () => counter.asked, (asked) => expect(asked).toBeGreaterThan(before + 1));
      // Whatever nobody holds any more is closed, sooner or later.
      expect(roster.bodyUsed).toBe(false);
      gone.abort();
      await ann.asks('HEAD', '/api/roster');
      const asks = async () => {
        const { asked } = counter;
        await pause(QUIET_MS);
        return counter.asked - asked;
      };
      await eventually('it is not asked', asks, (asked) => expect(asked).toBe(0));
    } finally {
      await app.stop();
      counter.stop();
    }
  });

  it('the roster is a stream of events', async () => {
    const ann = await house.member('Ann');
    const gone = new AbortController();
    const response = await ann.asks('GET', '/api/roster', { headers: { accept: 'text/event-stream' }, signal: gone.signal });
    expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({ status: 200, type: expect.stringMatching(/^text\/event-stream/) });
    const { value } = await response.body.getReader().read();
    expect(Buffer.from(value).toString()).toContain('data: []');
    gone.abort();
    expect((await ann.gets('/')).status).toBe(200);
  });
}

module.exports = { describeRoutes };
