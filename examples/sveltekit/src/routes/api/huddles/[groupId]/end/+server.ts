import { answer, requireMedia, requireSpeaker, roomOf } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

/** Ends the huddle for everyone. Whoever is in it to speak may do so. */
export const POST: RequestHandler = ({ locals, params }) =>
  answer(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const media = await requireMedia();
    await requireSpeaker(media, roomId, user);
    await media.deleteRoom(roomId);
    return new Response(null, { status: 204 });
  });
