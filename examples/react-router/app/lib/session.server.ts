import { randomUUID } from 'node:crypto';
import { createCookieSessionStorage, redirect } from 'react-router';

/** A signed-in user. The id is the identity in every call, and never comes from the client. */
export interface User {
  id: string;
  name: string;
}

/** Maximum characters of a user's name; a longer one is rejected. */
const MAX_NAME_CHARS = 40;
const isProduction = import.meta.env.PROD || process.env.NODE_ENV === 'production';
const secret = process.env.SESSION_SECRET || (isProduction ? undefined : 'for development alone');
if (!secret) throw new Error('Set SESSION_SECRET to a long random text: it signs the sessions.');

const storage = createCookieSessionStorage<User>({
  cookie: { name: 'huddle', httpOnly: true, sameSite: 'lax', path: '/', secrets: [secret] },
});

/** Returns the user of the session cookie, or `undefined`. */
export async function readUser(request: Request): Promise<User | undefined> {
  const { data } = await storage.getSession(request.headers.get('cookie'));
  return data.id && data.name ? { id: data.id, name: data.name } : undefined;
}

/** Returns the user, for API routes. Throws a 401 response if nobody is signed in, and 403 for requests from pages of other sites. */
export async function requireUser(request: Request): Promise<User> {
  const site = request.headers.get('sec-fetch-site') ?? 'same-origin';
  if (site !== 'same-origin' && site !== 'none') throw Response.json({ error: 'Not from another site' }, { status: 403 });
  const user = await readUser(request);
  if (!user) throw Response.json({ error: 'Sign in first' }, { status: 401 });
  return user;
}

/** Signs in a new user of that name and redirects to `next`; returns `undefined` if the name is invalid. */
export async function signIn(request: Request, name: string, next: string): Promise<Response | undefined> {
  const trimmed = name.trim();
  if (trimmed === '' || [...trimmed].length > MAX_NAME_CHARS) return undefined;
  const session = await storage.getSession();
  session.set('id', randomUUID());
  session.set('name', trimmed);
  // Behind a proxy, the request's own URL may have another scheme than the public one.
  const secure = (process.env.ORIGIN ?? request.url).startsWith('https:');
  return redirect(localPath(request, next), { headers: { 'set-cookie': await storage.commitSession(session, { secure }) } });
}

export async function signOut(request: Request): Promise<Response> {
  const session = await storage.getSession(request.headers.get('cookie'));
  return redirect('/', { headers: { 'set-cookie': await storage.destroySession(session) } });
}

/** Returns the path of a URL on this site, or `/` for any other URL, so that `next` cannot redirect to another site. */
function localPath(request: Request, next: string): string {
  const here = new URL(request.url).origin;
  const target = URL.canParse(next, here) ? new URL(next, here) : undefined;
  // `/.//example.com` is on this site, but its path `//example.com` is not.
  return target?.origin === here && !target.pathname.startsWith('//') ? target.pathname + target.search : '/';
}
