import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { building, dev } from '$app/env';
import type { Cookies } from '@sveltejs/kit';
import { env } from './env';

/** Who somebody is in this app. The id is the identity in every call, and never comes from the client. */
export interface User {
  id: string;
  name: string;
}

const COOKIE = 'huddle';
const MOST_LETTERS = 40;
// `dev` was fixed by the build: one made by mistake for development must not run in production with a secret that everyone knows.
const isProduction = !dev || env.NODE_ENV === 'production';
const secret = env.SESSION_SECRET || (isProduction ? '' : 'for development alone');
if (!secret && !building) throw new Error('Set SESSION_SECRET to a long random text: it signs the sessions.');

const sign = (text: string) => createHmac('sha256', secret).update(text).digest();

export function readUser(cookies: Cookies): User | undefined {
  const [text = '', signature = ''] = cookies.get(COOKIE)?.split('.') ?? [];
  const given = Buffer.from(signature, 'base64url');
  const right = sign(text);
  // An early end of the comparison would tell how much of a guess is right.
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as User;
}

/** The user, for routes that scripts ask. Throws the answer 401 where nobody is signed in. */
export function requireUser({ user }: App.Locals): User {
  if (!user) throw Response.json({ error: 'Sign in first' }, { status: 401 });
  return user;
}

/** Signs somebody in under a name; false where it is none. */
export function signIn(cookies: Cookies, url: URL, name: string): boolean {
  const trimmed = name.trim();
  if (trimmed === '' || [...trimmed].length > MOST_LETTERS) return false;
  const text = Buffer.from(JSON.stringify({ id: randomUUID(), name: trimmed } satisfies User)).toString('base64url');
  const secure = url.protocol === 'https:';
  cookies.set(COOKIE, `${text}.${sign(text).toString('base64url')}`, { path: '/', httpOnly: true, sameSite: 'lax', secure });
  return true;
}

export function signOut(cookies: Cookies): void {
  cookies.delete(COOKIE, { path: '/' });
}

/** A path of this site; the lobby for whatever leads elsewhere, however it is written. */
export function localPath(url: URL, next: string): string {
  const target = URL.canParse(next, url.origin) ? new URL(next, url.origin) : undefined;
  // `/.//example.com` is this site's, but its path alone, `//example.com`, is not.
  return target?.origin === url.origin && !target.pathname.startsWith('//') ? target.pathname + target.search : '/';
}
