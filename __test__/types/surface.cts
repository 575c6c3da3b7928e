// A CommonJS module's view of the package.
import platform = require('@maravilla-labs/platform');

const { getPlatform, isMediaError } = platform;

async function join(groupId: string): Promise<platform.MediaTokenResult | undefined> {
  const media: platform.MediaService | undefined = getPlatform().media;
  if (!media) return undefined;
  try {
    const room: platform.MediaRoomInfo = await media.createRoom(groupId);
    return await media.generateToken(room.name, { identity: 'ann', name: 'Ann' });
  } catch (error) {
    if (isMediaError(error) && error.retryable) return undefined;
    throw error;
  }
}

// @ts-expect-error: named exports only
void platform.default;
// @ts-expect-error
platform.getPlatfrom();

export = { join };
