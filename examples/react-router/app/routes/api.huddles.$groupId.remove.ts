import { isMediaError } from '@maravilla-labs/platform';
import { errorResponse, requireMedia, requireSpeaker, roomOf, withErrorResponse } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.remove';

/** Disconnects a participant. Every participant that may publish can do this. */
export async function action({ request, params }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  const form = await request.formData().catch(() => new FormData());
  const identity = String(form.get('identity') ?? '');
  if (!identity) return errorResponse(400, 'The identity is missing');
  return withErrorResponse(async () => {
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.removeParticipant(roomId, identity).catch((error: unknown) => {
      // The participant has left in the meantime.
      if (!isMediaError(error) || error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
    });
    return new Response(null, { status: 204 });
  });
}
