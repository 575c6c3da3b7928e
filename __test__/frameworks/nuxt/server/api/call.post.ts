import { getPlatform } from '@maravilla-labs/platform';

export default defineEventHandler(async (event) => {
  const { media } = getPlatform();
  if (!media) return setResponseStatus(event, 503);
  const { name } = await media.createRoom('tea');
  return { name };
});
