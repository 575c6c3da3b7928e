import { requireMedia, requireSpeaker, roomOf, withErrorResponse } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.end';

/** Ends the huddle for all participants. Every participant that may publish can do this. */
export async function action({ request, params }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  return withErrorResponse(async () => {
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.deleteRoom(roomId);
    return new Response(null, { status: 204 });
  });
}
