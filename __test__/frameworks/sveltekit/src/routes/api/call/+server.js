import { getPlatform } from '@maravilla-labs/platform';

export async function POST() {
  const { media } = getPlatform();
  return Response.json({ name: (await media.createRoom('tea')).name });
}
