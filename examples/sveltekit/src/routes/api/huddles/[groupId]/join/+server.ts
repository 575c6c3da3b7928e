import type { Ticket } from '#lib/call.ts';
import { answer, requireMedia, roomOf, settings } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

/**
 * Lets the user into the huddle: makes the room if need be, and mints a token for them alone. Whoever asks to listen only listens;
 * where not everyone may speak, this is the place to say so.
 */
export const POST: RequestHandler = ({ locals, params, request }) =>
  answer(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const media = await requireMedia();
    await media.createRoom(roomId, settings);
    const { token, url } = await media.generateToken(roomId, {
      identity: user.id,
      name: user.name,
      canPublish: !form.has('listen'),
      roomSettings: settings,
    });
    return Response.json({ token, url, roomId } satisfies Ticket, { headers: { 'cache-control': 'no-store' } });
  });
