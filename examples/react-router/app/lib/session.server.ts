import { randomUUID } from 'node:crypto';
import { createCookieSessionStorage, redirect } from 'react-router';

/** Who somebody is in this app. The id is the identity in every call, and never comes from the client. */
export interface User {
  id: string;
  name: string;
}

const MOST_LETTERS = 40;
const isProduction = import.meta.env.PROD || process.env.NODE_ENV === 'production';
const secret = process.env.SESSION_SECRET || (isProduction ? undefined : 'for development alone');
if (!secret) throw new Error('Set SESSION_SECRET to a long random text: it signs the sessions.');

const storage = createCookieSessionStorage<User>({
  cookie: { name: 'huddle', httpOnly: true, sameSite: 'lax', path: '/', secrets: [secret] },
});

export async function readUser(request: Request): Promise<User | undefined> {
  const { data } = await storage.getSession(request.headers.get('cookie'));
  return data.id && data.name ? { id: data.id, name: data.name } : undefined;
}

/** The user, for routes that scripts ask. Throws the answer 401 where nobody is signed in, and 403 where another site's page asks. */
export async function requireUser(request: Request): Promise<User> {
  const site = request.headers.get('sec-fetch-site') ?? 'same-origin';
  if (site !== 'same-origin' && site !== 'none') throw Response.json({ error: 'Not from another site' }, { status: 403 });
  const user = await readUser(request);
  if (!user) throw Response.json({ error: 'Sign in first' }, { status: 401 });
  return user;
}

/** Signs somebody in under a name and sends them on; nothing where it is no name. */
export async function signIn(request: Request, name: string, next: string): Promise<Response | undefined> {
  const trimmed = name.trim();
  if (trimmed === '' || [...trimmed].length > MOST_LETTERS) return undefined;
  const session = await storage.getSession();
  session.set('id', randomUUID());
  session.set('name', trimmed);
  // Behind a proxy only the environment knows what visitors type.
  const secure = (process.env.ORIGIN ?? request.url).startsWith('https:');
  return redirect(localPath(request, next), { headers: { 'set-cookie': await storage.commitSession(session, { secure }) } });
}

export async function signOut(request: Request): Promise<Response> {
  const session = await storage.getSession(request.headers.get('cookie'));
  return redirect('/', { headers: { 'set-cookie': await storage.destroySession(session) } });
}

/** A path of this site; the lobby for whatever leads elsewhere, however it is written. */
function localPath(request: Request, next: string): string {
  const here = new URL(request.url).origin;
  const target = URL.canParse(next, here) ? new URL(next, here) : undefined;
  // `/.//example.com` is this site's, but its path alone, `//example.com`, is not.
  return target?.origin === here && !target.pathname.startsWith('//') ? target.pathname + target.search : '/';
}
