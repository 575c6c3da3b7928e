// TanStack Start builds a fetch handler; this serves it.
import { createServer } from 'node:http';
import server from './dist/server/server.js';

createServer(async (request, response) => {
  const answer = await server.fetch(new Request(`http://${request.headers.host}${request.url}`, { method: request.method }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
}).listen(Number(process.env.PORT), '127.0.0.1');
