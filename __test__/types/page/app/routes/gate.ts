// The gate in the platform's documentation, with its types.
import { platform } from '~/lib/platform.server';
import type {
  MediaParticipantInfo,
  MediaRoomInfo,
  MediaRoomInfoSettings,
  MediaService,
  MediaTokenResult,
} from '@maravilla-labs/platform';

if (!platform.media) {
  throw new Error('Media not configured for this project');
}

const media: MediaService = platform.media;

export async function open(roomId: string, participant: MediaParticipantInfo): Promise<MediaTokenResult | null> {
  const settings: MediaRoomInfoSettings = { maxParticipants: 12, emptyTimeoutSecs: 60 };
  const room: MediaRoomInfo = await media.createRoom(roomId, settings);
  if ((await media.mediaUrl()) === null) return null;
  const rooms: MediaRoomInfo[] = await media.listRooms();
  return rooms.some(({ name }) => name === room.name) ? await media.generateToken(roomId, participant) : null;
}

export async function close(roomId: string): Promise<void> {
  return media.deleteRoom(roomId);
}
