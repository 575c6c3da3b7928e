import { answer, requireMedia, roomOf, settings } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.join';

/** Lets the user into the huddle: makes the room if need be, and mints a token for them alone. */
export async function action({ request, params, url }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  const form = await request.formData().catch(() => new FormData());
  const listens = form.has('listen') || url.searchParams.has('listen');
  return answer(async () => {
    const media = await requireMedia();
    await media.createRoom(roomId, settings);
    const ticket = await media.generateToken(roomId, {
      identity: user.id,
      name: user.name,
      canPublish: !listens,
      roomSettings: settings,
    });
    return Response.json({ token: ticket.token, url: ticket.url, roomId }, { headers: { 'cache-control': 'no-store' } });
  });
}
