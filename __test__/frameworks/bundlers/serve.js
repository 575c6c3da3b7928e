// The route of the other apps, without a framework.
import { createServer } from 'node:http';
import { getPlatform } from '@maravilla-labs/platform';

createServer(async (request, response) => {
  if (request.url !== '/api/call') return response.end('home');
  const { media } = getPlatform();
  response.statusCode = media ? 200 : 503;
  response.end(media && JSON.stringify({ name: (await media.createRoom('tea')).name }));
}).listen(Number(process.env.PORT), '127.0.0.1');
