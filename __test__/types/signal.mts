// The global AbortSignal, declared by the DOM library, @types/node, or both.
import { type AbortSignalLike, type MediaService, getPlatform } from '@maravilla-labs/platform';

export async function cancels(media: MediaService, request: { signal: AbortSignal }): Promise<void> {
  const controller = new AbortController();
  const like: AbortSignalLike = controller.signal;
  void like;
  await media.createRoom('r', {}, { signal: controller.signal, timeoutMs: 500 });
  await media.listRooms({ signal: request.signal });
  await media.listRooms({ signal: AbortSignal.timeout(500) });
  const maybe: AbortSignal | undefined = Math.random() < 0.5 ? request.signal : undefined;
  await media.deleteRoom('r', { signal: maybe });
  // @ts-expect-error: the signal, not its controller
  await media.listRooms({ signal: controller });
  // @ts-expect-error
  await media.listRooms({ signal: null });
  void getPlatform;
}

/** The global Request, of the DOM library or Node.js. */
export async function receives(media: MediaService, request: Request): Promise<void> {
  await media.receiveWebhook(request, { signal: request.signal });
}
