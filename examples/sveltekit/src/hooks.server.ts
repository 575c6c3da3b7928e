import { readUser } from '$lib/server/session';
import type { Handle } from '@sveltejs/kit';

export const handle: Handle = ({ event, resolve }) => {
  event.locals.user = readUser(event.cookies);
  return resolve(event);
};
