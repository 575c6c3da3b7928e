import { answer, requireMedia, requireUser, roomOf, settings } from '$lib/server/huddles';
import type { RequestHandler } from './$types';

/** Lets the user into the huddle: makes the room if need be, and mints a token for them alone. */
export const POST: RequestHandler = ({ locals, params, request, url: asked }) =>
  answer(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const listens = form.has('listen') || asked.searchParams.has('listen');
    const media = await requireMedia();
    await media.createRoom(roomId, settings);
    const { token, url } = await media.generateToken(roomId, {
      identity: user.id,
      name: user.name,
      canPublish: !listens,
      roomSettings: settings,
    });
    return Response.json({ token, url, roomId }, { headers: { 'cache-control': 'no-store' } });
  });
