import type { JoinResponse } from '#lib/call.ts';
import { requireMedia, roomOf, settings, withErrorResponse } from '#lib/server/huddles.ts';
import { requireUser } from '#lib/server/session.ts';
import type { RequestHandler } from './$types';

/**
 * Creates the room if it doesn't exist, and mints a token for the user. A request with `listen` gets a token that cannot publish. To restrict who may
 * join or speak, check it here.
 */
export const POST: RequestHandler = ({ locals, params, request, url: { origin } }) =>
  withErrorResponse(async () => {
    const user = requireUser(locals);
    const roomId = roomOf(params.groupId);
    const form = await request.formData().catch(() => new FormData());
    const media = await requireMedia();
    await media.createRoom(roomId, settings);
    const participant = { identity: user.id, name: user.name, canPublish: !form.has('listen'), roomSettings: settings };
    const { token, url } = await media.generateToken(roomId, participant, { origin });
    return Response.json({ token, url, roomId } satisfies JoinResponse, { headers: { 'cache-control': 'no-store' } });
  });
