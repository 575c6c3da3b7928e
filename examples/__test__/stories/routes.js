'use strict';

// The routes, asked over HTTP by those who mean well and those who do not.

const { claimsOf } = require('../support/guest.js');
const { serveWith, setHouse } = require('../support/house.js');

/** @param {import('../support/house.js').Browsers} browsers @param {import('../../../scripts/example-server.js').Name} name */
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

  it('the roster is a stream of events that ends with who asked for it', async () => {
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
