import { answer, requireMedia, requireSpeaker, requireUser, roomOf } from '$lib/server/huddles';
import { isMediaError } from '@maravilla-labs/platform';
import type { RequestHandler } from './$types';

/** Disconnects a participant. Whoever is in the huddle to speak may do so. */
export const POST: RequestHandler = ({ locals, params, request }) =>
  answer(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.removeParticipant(roomId, String(form.get('identity') ?? '')).catch((error: unknown) => {
      // They have left by themselves.
      if (!isMediaError(error) || error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
    });
    return new Response(null, { status: 204 });
  });
