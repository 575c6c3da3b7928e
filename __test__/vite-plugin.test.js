'use strict';

// The plugin for Vite: the engine's signalling on the dev server, beside its own WebSocket for hot reload.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { certificates } = require('./support/certificates.js');
const { resultOf } = require('./support/child.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');

/** Runs `script` in a folder with the package and an app that mints a token. @param {string} script */
function runInApp(script) {
  const root = temporaryFolder();
  installCopy(root, 'linked');
  fs.writeFileSync(path.join(root, 'package.json'), '{"type":"module"}');
  fs.writeFileSync(path.join(root, 'index.html'), '<h1>page</h1>');
  fs.writeFileSync(
    path.join(root, 'rooms.js'),
    `import { getPlatform } from '@maravilla-labs/platform';
    export const mint = (origin) => getPlatform().media.generateToken('room', { identity: 'ann', name: 'Ann' }, { origin });`,
  );
  const env = { MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_PORT: '0' };
  return resultOf(
    `import { once } from 'node:events';
    import { createRequire } from 'node:module';
    import { createServer } from ${JSON.stringify(vite)};
    import { maravillaMedia } from '@maravilla-labs/platform/vite';
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    process.on('warning', () => {});
    const WebSocket = createRequire(${JSON.stringify(__filename)})('ws');
    const config = { root: ${JSON.stringify(root)}, configFile: false, logLevel: 'error', optimizeDeps: { noDiscovery: true } };
    const base = { host: '127.0.0.1', port: 0, watch: null };
    const first = async (url, protocol) => {
      const socket = new WebSocket(url, protocol, { rejectUnauthorized: false });
      const [data] = await once(socket, 'message');
      socket.terminate();
      return data;
    };
    const originOf = (server) => (server.config.server.https ? 'https' : 'http') + '://127.0.0.1:' + server.httpServer.address().port;
    const result = {};
    ${script}
    console.log(JSON.stringify(result));
    process.exit();`,
    { cwd: root, module: true, env },
  );
}

const { here } = certificates();

test.each([
  ['http', {}],
  ['https, with HTTP/2', { https: { key: String(here.key), cert: String(here.cert) } }],
])('over %s a client joins through the dev server, and hot reload works on the same port', async (_, more) => {
  const result = await runInApp(`
    const server = await createServer({ ...config, server: { ...base, ...${JSON.stringify(more)} }, plugins: [maravillaMedia()] });
    await server.listen();
    const origin = originOf(server);
    const validate = async (query = '') => (await fetch(origin + '/media/rtc/validate' + query)).status;
    result.before = await validate();
    const { mint } = await server.ssrLoadModule('/rooms.js');
    const { token, url } = await mint(origin);
    result.url = url === origin.replace('http', 'ws') + '/media';
    result.bytes = (await first(url + '/rtc?access_token=' + token + '&protocol=9')).length > 100;
    result.after = [await validate(), await validate('?access_token=' + token)];
    result.hot = JSON.parse(await first(origin.replace('http', 'ws') + '/?token=' + server.config.webSocketToken, 'vite-hmr')).type;
    result.page = (await (await fetch(origin + '/')).text()).includes('<h1>page</h1>');
    await server.restart();
    const again = originOf(server);
    result.restarted = (await first((await mint(again)).url + '/rtc?access_token=' + token + '&protocol=9')).length > 100;`);
  expect(result).toEqual({ before: 503, url: true, bytes: true, after: [401, 200], hot: 'connected', page: true, restarted: true });
});

test('warns if Vite runs as middleware, which has no server', async () => {
  const result = await runInApp(`
    const warnings = [];
    const customLogger = { info() {}, warn: (text) => warnings.push(text), warnOnce() {}, error() {}, clearScreen() {}, hasErrorLogged: () => false, hasWarned: false };
    await createServer({ ...config, customLogger, server: { middlewareMode: true, ws: false, watch: null }, plugins: [maravillaMedia({ mediaPath: '/calls' })] });
    result.warnings = warnings;
    try {
      maravillaMedia({ mediaPath: 'calls' });
    } catch ({ code, message }) {
      result.error = { code, message };
    }`);
  expect(result.warnings).toEqual([expect.stringContaining('media.attach(server)')]);
  expect(result.error).toEqual({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('mediaPath') });
});
