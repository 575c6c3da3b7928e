'use strict';

const http = require('node:http');
const net = require('node:net');
const { once } = require('node:events');

/**
 * A forward proxy that sends every request to one port of this machine, and records requests in `seen`.
 * @param {number} port
 */
async function startProxy(port) {
  const seen = [];
  const sockets = new Set();
  const proxy = http.createServer((request, response) => {
    seen.push({ method: request.method, target: request.url, headers: request.headers });
    const path = URL.canParse(request.url) ? new URL(request.url).pathname : request.url;
    const upstream = http.request({ port, path, method: request.method, headers: request.headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  proxy.on('connect', (request, socket) => {
    seen.push({ method: 'CONNECT', target: request.url, headers: request.headers });
    const upstream = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
    for (const end of [socket, upstream]) end.on('error', () => {}).on('close', () => (socket.destroy(), upstream.destroy()));
  });
  proxy.on('connection', (socket) => sockets.add(socket));
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    seen,
    async close() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      await once(proxy, 'close');
    },
  };
}

module.exports = { startProxy };
