// The route in the platform's documentation. It must compile and run unchanged.
import { platform } from '~/lib/platform.server';
import { requireUser } from '~/lib/auth.server';

export async function action({ request, params }: ActionArgs) {
  const session = await requireUser(request);
  if (!platform.media) throw new Response('Media disabled', { status: 503 });

  const roomId = `huddle:${params.groupId}`;

  await platform.media.createRoom(roomId, {
    maxParticipants: 12,
    emptyTimeoutSecs: 60,
  });

  const { token, url } = await platform.media.generateToken(roomId, {
    identity: session.id,
    name: session.email.split('@')[0],
    canPublish: true,
    canSubscribe: true,
    canPublishData: true,
  });

  return { token, url, roomId };
}
