'use strict';

// The route and the gate in __test__/types/page, which the platform's documentation shows, on both providers.

const { readFileSync } = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
require('../support/environment.js');
const { startServer } = require('../../test-support/livekit-server.js');
const platform = require('../../index.js');
const { readToken } = require('../support/token.js');

const app = path.join(__dirname, '../types/page/app');

/** Loads modules of the app as a bundler does: `~` is its folder, and each module is evaluated once. */
function openApp() {
  const loaded = new Map();
  return function load(file) {
    if (!loaded.has(file)) {
      const module = { exports: {} };
      loaded.set(file, module.exports);
      const source = readFileSync(path.join(app, `${file}.ts`), 'utf8');
      const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(source, { compilerOptions });
      const requireOf = (name) => (name === '@maravilla-labs/platform' ? platform : load(name.replace('~/', '')));
      new Function('require', 'module', 'exports', outputText)(requireOf, module, module.exports);
    }
    return loaded.get(file);
  };
}

const route = 'routes/api.huddles.$groupId.join';
const request = new Request('http://app.example/api/huddles/7/join', { method: 'POST', headers: { 'x-user': 'ann@example.com' } });

/** The variables of each provider, its URL, and a function that stops it. */
const providers = {
  async livekit() {
    const { url, apiKey, apiSecret, stop } = await startServer();
    return { env: { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret }, url, apiSecret, stop };
  },
  async embedded() {
    const { media } = platform.getPlatform({ provider: 'embedded' });
    const url = await media.mediaUrl();
    const stop = async () => {
      for (const { name } of await media.listRooms()) await media.deleteRoom(name);
    };
    return { env: { MARAVILLA_MEDIA_PROVIDER: 'embedded' }, url, stop };
  },
};

describe.each(Object.entries(providers))("the documentation's code on %s", (_, start) => {
  /** @type {{ env: Record<string, string>, url: string, apiSecret?: string, stop: () => Promise<void> }} */
  let server;
  beforeAll(async () => {
    server = await start();
    platform.clearPlatformCache();
  });
  afterAll(() => server?.stop());

  const configure = () => Object.assign(process.env, server.env);
  afterEach(() => {
    platform.clearPlatformCache();
    for (const name of Object.keys(server.env)) delete process.env[name];
  });

  test('joins a huddle', async () => {
    configure();
    const { action } = openApp()(route);
    const joined = await action({ request, params: { groupId: '7' } });
    expect(joined).toEqual({ token: expect.any(String), url: server.url, roomId: 'huddle:7' });
    const { claims } = readToken(joined.token, server.apiSecret);
    expect(claims).toMatchObject({ sub: 'user-ann@example.com', name: 'ann' });
    expect(claims.video).toMatchObject({ room: 'huddle:7', canPublish: true, canSubscribe: true, canPublishData: true });
    const rooms = await platform.getPlatform().media.listRooms();
    expect(rooms).toContainEqual(expect.objectContaining({ name: 'huddle:7', maxParticipants: 12 }));
    await expect(action({ request, params: { groupId: '7' } })).resolves.toMatchObject({ url: server.url });
  });

  test('responds with 503 without media', async () => {
    const { action } = openApp()(route);
    await expect(action({ request, params: { groupId: '7' } })).rejects.toMatchObject({ status: 503 });
  });

  test('throws without media, and joins with it', async () => {
    expect(() => openApp()('routes/gate')).toThrow('Media not configured for this project');
    platform.clearPlatformCache();
    configure();
    const gate = openApp()('routes/gate');
    const joined = await gate.open('room', { identity: 'bob', name: 'Bob' });
    expect(joined).toMatchObject({ url: server.url });
    await gate.close('room');
  });
});
