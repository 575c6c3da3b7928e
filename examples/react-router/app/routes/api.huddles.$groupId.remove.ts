import { isMediaError } from '@maravilla-labs/platform';
import { answer, refuse, requireMedia, requireSpeaker, roomOf } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.remove';

/** Disconnects a participant. Whoever is in the huddle to speak may do so. */
export async function action({ request, params }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  const form = await request.formData().catch(() => new FormData());
  const identity = String(form.get('identity') ?? '');
  if (!identity) return refuse(400, 'Nobody is named');
  return answer(async () => {
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.removeParticipant(roomId, identity).catch((error: unknown) => {
      // They have left by themselves.
      if (!isMediaError(error) || error.code !== 'PARTICIPANT_NOT_FOUND') throw error;
    });
    return new Response(null, { status: 204 });
  });
}
