import { answer, requireUser, streamHuddles } from '$lib/server/huddles';
import type { RequestHandler } from './$types';

export const GET: RequestHandler = ({ locals, request }) =>
  answer(async () => {
    requireUser(locals);
    return streamHuddles(request);
  });
