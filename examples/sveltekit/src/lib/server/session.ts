import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { building, dev } from '$app/env';
import type { Cookies } from '@sveltejs/kit';
import { env } from './env';

/** A signed-in user. The id is the identity in every call, and never comes from the client. */
export interface User {
  id: string;
  name: string;
}

const COOKIE = 'huddle';
/** Maximum characters of a user's name; a longer one is rejected. */
const MAX_NAME_CHARS = 40;
// NODE_ENV is read too, because `dev` is set at build time: a development build must not run in production with a well-known secret.
const isProduction = !dev || env.NODE_ENV === 'production';
const secret = env.SESSION_SECRET || (isProduction ? '' : 'for development alone');
if (!secret && !building) throw new Error('Set SESSION_SECRET to a long random text: it signs the sessions.');

const sign = (text: string) => createHmac('sha256', secret).update(text).digest();

/** Returns the user of the session cookie, or `undefined`. */
export function readUser(cookies: Cookies): User | undefined {
  const [text = '', signature = ''] = cookies.get(COOKIE)?.split('.') ?? [];
  const given = Buffer.from(signature, 'base64url');
  const right = sign(text);
  // Compared in constant time, so that the duration reveals nothing about the right signature.
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as User;
}

/** Returns the user, for API routes. Throws a 401 response if nobody is signed in. */
export function requireUser({ user }: App.Locals): User {
  if (!user) throw Response.json({ error: 'Sign in first' }, { status: 401 });
  return user;
}

/** Signs in a new user of that name; returns `false` if the name is invalid. */
export function signIn(cookies: Cookies, url: URL, name: string): boolean {
  const trimmed = name.trim();
  if (trimmed === '' || [...trimmed].length > MAX_NAME_CHARS) return false;
  const text = Buffer.from(JSON.stringify({ id: randomUUID(), name: trimmed } satisfies User)).toString('base64url');
  const secure = url.protocol === 'https:';
  cookies.set(COOKIE, `${text}.${sign(text).toString('base64url')}`, { path: '/', httpOnly: true, sameSite: 'lax', secure });
  return true;
}

export function signOut(cookies: Cookies): void {
  cookies.delete(COOKIE, { path: '/' });
}

/** Returns the path of a URL on this site, or `/` for any other URL, so that `next` cannot redirect to another site. */
export function localPath(url: URL, next: string): string {
  const target = URL.canParse(next, url.origin) ? new URL(next, url.origin) : undefined;
  // `/.//example.com` is on this site, but its path `//example.com` is not.
  return target?.origin === url.origin && !target.pathname.startsWith('//') ? target.pathname + target.search : '/';
}
