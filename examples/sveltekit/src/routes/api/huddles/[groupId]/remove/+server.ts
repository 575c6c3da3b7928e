import { errorResponse, requireMedia, requireSpeaker, roomOf, withErrorResponse } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import { isMediaError } from '@maravilla-labs/platform';
import type { RequestHandler } from './$types';

/** Disconnects a participant. Every participant that may publish can do this. */
export const POST: RequestHandler = ({ locals, params, request }) =>
  withErrorResponse(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const identity = String(form.get('identity') ?? '');
    if (!identity) return errorResponse(400, 'The identity is missing');
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.removeParticipant(roomId, identity).catch((error: unknown) => {
      // The participant has left in the meantime.
      if (!isMediaError(error) || error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
    });
    return new Response(null, { status: 204 });
  });
