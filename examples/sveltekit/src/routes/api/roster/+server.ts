import { answer, streamHuddles } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

export const GET: RequestHandler = ({ locals, request }) =>
  answer(async () => {
    requireUser(locals);
    return streamHuddles(request);
  });
