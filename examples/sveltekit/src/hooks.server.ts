import { readUser } from '#lib/server/session.ts';
import type { Handle } from '@sveltejs/kit/hooks';

/** Makes the signed-in user available to routes as `locals.user`. */
export const handle: Handle = ({ event, resolve }) => {
  event.locals.user = readUser(event.cookies);
  return resolve(event);
};
