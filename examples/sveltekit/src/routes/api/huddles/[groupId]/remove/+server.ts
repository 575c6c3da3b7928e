import { answer, refuse, requireMedia, requireSpeaker, roomOf } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import { isMediaError } from '@maravilla-labs/platform';
import type { RequestHandler } from './$types';

/** Disconnects a participant. Whoever is in the huddle to speak may do so. */
export const POST: RequestHandler = ({ locals, params, request }) =>
  answer(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const identity = String(form.get('identity') ?? '');
    if (!identity) return refuse(400, 'Nobody is named');
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.removeParticipant(roomId, identity).catch((error: unknown) => {
      // They have left by themselves.
      if (!isMediaError(error) || error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
    });
    return new Response(null, { status: 204 });
  });
