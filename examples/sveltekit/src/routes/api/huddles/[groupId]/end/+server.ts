import { requireMedia, requireSpeaker, roomOf, withErrorResponse } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

/** Ends the huddle for all participants. Every participant that may publish can do this. */
export const POST: RequestHandler = ({ locals, params }) =>
  withErrorResponse(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.deleteRoom(roomId);
    return new Response(null, { status: 204 });
  });
