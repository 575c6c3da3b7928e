import { streamHuddles, withErrorResponse } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

/** Streams the list of huddles to the lobby. */
export const GET: RequestHandler = ({ locals, request }) =>
  withErrorResponse(async () => {
    requireUser(locals);
    return streamHuddles(request);
  });
