import { getPlatform } from '@maravilla-labs/platform';

export async function POST() {
  const { media } = getPlatform();
  if (!media) return new Response(null, { status: 503 });
  const { name } = await media.createRoom('tea');
  return Response.json({ name });
}
