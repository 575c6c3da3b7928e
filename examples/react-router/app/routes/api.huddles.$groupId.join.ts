import type { JoinResponse } from '~/lib/call';
import { requireMedia, roomOf, settings, withErrorResponse } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.huddles.$groupId.join';

/**
 * Creates the room if it doesn't exist, and mints a token for the user. A request with `listen` gets a token that cannot publish. To restrict who may
 * join or speak, check it here.
 */
export async function action({ request, params }: Route.ActionArgs) {
  const user = await requireUser(request);
  const roomId = roomOf(params.groupId);
  const form = await request.formData().catch(() => new FormData());
  return withErrorResponse(async () => {
    const media = await requireMedia();
    await media.createRoom(roomId, settings);
    const participant = { identity: user.id, name: user.name, canPublish: !form.has('listen'), roomSettings: settings };
    const { token, url } = await media.generateToken(roomId, participant, { origin: new URL(request.url).origin });
    return Response.json({ token, url, roomId } satisfies JoinResponse, { headers: { 'cache-control': 'no-store' } });
  });
}
