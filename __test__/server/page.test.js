'use strict';

// The route and the gate of the platform's documentation, as __test__/types/page holds them, on a real server.

const { readFileSync } = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
require('../support/environment.js');
const { startServer } = require('../../scripts/livekit-server.js');
const platform = require('../../index.js');
const { readToken } = require('../support/token.js');

const app = path.join(__dirname, '../types/page/app');

/** Loads the app's modules as a bundler does: TypeScript erased, `~` its own folder, each module once. */
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

describe("the documentation's code", () => {
  /** @type {Awaited<ReturnType<typeof startServer>>} */
  let server;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server?.stop());

  const configure = () => {
    process.env.LIVEKIT_URL = server.url;
    process.env.LIVEKIT_API_KEY = server.apiKey;
    process.env.LIVEKIT_API_SECRET = server.apiSecret;
  };
  afterEach(() => {
    platform.clearPlatformCache();
    for (const name of ['LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET']) delete process.env[name];
  });

  test('joins a huddle', async () => {
    configure();
    const { action } = openApp()(route);
    const joined = await action({ request, params: { groupId: '7' } });
    expect(joined).toEqual({ token: expect.any(String), url: server.url, roomId: 'huddle:7' });
    const { claims } = readToken(joined.token, server.apiSecret);
    expect(claims).toMatchObject({ sub: 'user-ann@example.com', name: 'ann' });
    expect(claims.video).toMatchObject({ room: 'huddle:7', canPublish: true, canSubscribe: true, canPublishData: true });
    const [room] = await platform.getPlatform().media.listRooms();
    expect(room).toMatchObject({ name: 'huddle:7', maxParticipants: 12 });
    await expect(action({ request, params: { groupId: '7' } })).resolves.toMatchObject({ url: server.url });
  });

  test('answers 503 where no media is configured', async () => {
    const { action } = openApp()(route);
    await expect(action({ request, params: { groupId: '7' } })).rejects.toMatchObject({ status: 503 });
  });

  test('passes its gate where media is configured, and only there', async () => {
    expect(() => openApp()('routes/gate')).toThrow('Media not configured for this project');
    platform.clearPlatformCache();
    configure();
    const gate = openApp()('routes/gate');
    const joined = await gate.open('stage', { identity: 'bob', name: 'Bob' });
    expect(joined).toMatchObject({ url: server.url });
    await gate.close('stage');
  });
});
