import { answer, streamHuddles } from '$lib/server/huddles';
import { requireUser } from '$lib/server/session';
import type { RequestHandler } from './$types';

export const GET: RequestHandler = ({ locals, request }) =>
  answer(async () => {
    requireUser(locals);
    return streamHuddles(request);
  });
