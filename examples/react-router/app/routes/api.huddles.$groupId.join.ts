import type { Ticket } from '~/lib/call';
import { answer, requireMedia, roomOf, settings } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.join';

/**
 * Lets the user into the huddle: makes the room if need be, and mints a token for them alone. Whoever asks to listen only listens;
 * where not everyone may speak, this is the place to say so.
 */
export async function action({ request, params }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  const form = await request.formData().catch(() => new FormData());
  return answer(async () => {
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
}
