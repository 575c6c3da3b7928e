import { getPlatform } from '@maravilla-labs/platform';
import { defineHandler } from 'nitro/h3';

export default defineHandler(async () => {
  const { media } = getPlatform();
  return { name: (await media.createRoom('tea')).name };
});
