'use strict';

// Values and errors of the embedded engine in JavaScript: realms, stacks and errors of the native core.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { MediaError, createPlatform } = require('../index.js');
const { coreFunctions, loadOverCore } = require('./support/broken-core.js');
const { resultOf } = require('./support/child.js');
const { ann, calls, occupy, openEmbedded } = require('./support/embedded.js');
const { failureOf } = require('./support/failure.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const EMBEDDED = { provider: 'embedded' };

describe('under jest', () => {
  test('errors are errors of this realm', async () => {
    const { port } = await occupy();
    const { media } = openEmbedded({ port });
    for (const call of [media.createRoom(''), media.createRoom('room'), media.mediaUrl(), media.generateToken('room', ann)]) {
      const error = await call.catch((caught) => caught);
      expect(error).toBeInstanceOf(MediaError);
      expect(error).toBeInstanceOf(Error);
    }
  });

  test('every method returns a promise of this realm', async () => {
    const { media } = openEmbedded();
    for (const call of Object.values(calls)) {
      const promise = call(media);
      expect(promise).toBeInstanceOf(Promise);
      await promise;
    }
  });
});

describe('an error of the native core', () => {
  const panic = () => {
    throw new Error('panicked');
  };
  const isOpening = (name) => name === 'openEmbedded';

  test('in openEmbedded is INTERNAL', () => {
    const { thrown } = loadOverCore((name) => (isOpening(name) ? panic : undefined), EMBEDDED);
    expect(thrown).toMatchObject({ name: 'MediaError', code: 'INTERNAL', operation: 'createPlatform' });
  });

  test.each(['mediaUrl', 'generateToken'])('in mediaUrl is INTERNAL: %s', async (operation) => {
    const { media } = loadOverCore((name) => (name === 'mediaUrl' ? panic : undefined), EMBEDDED);
    expect(await failureOf(calls[operation](media))).toMatchObject({ code: 'INTERNAL', operation });
  });

  test.each([
    ['throws', panic],
    ['rejects', () => Promise.reject(new Error('panicked'))],
    ['rejects with undefined', () => Promise.reject()],
  ])('that %s in close is INTERNAL in each close()', async (_, broken) => {
    const { platform } = loadOverCore((name) => (name === 'close' ? broken : undefined), EMBEDDED);
    for (let round = 0; round < 2; round += 1) expect(await failureOf(platform.close())).toMatchObject({ code: 'INTERNAL', operation: 'close' });
  });

  test('in any function becomes a MediaError', async () => {
    for (const broken of coreFunctions()) {
      const { media, platform, thrown } = loadOverCore((name) => (name === broken ? panic : undefined), EMBEDDED);
      const outcomes = thrown ? [thrown] : await Promise.all([...Object.values(calls).map((call) => call(media)), platform.close()].map((call) => call.catch((error) => error)));
      const errors = outcomes.filter((outcome) => outcome instanceof Error);
      // The calls of this test don't use these functions.
      const isUsed = !['openLiveKit', 'configureNetwork', 'newCall', 'cancelCall'].includes(broken);
      expect([broken, errors.length > 0]).toEqual([broken, isUsed]);
      for (const error of errors) expect([broken, error.name]).toEqual([broken, 'MediaError']);
    }
  });

  test('of the engine does not fail LiveKit’s provider', async () => {
    const { media, platform } = loadOverCore((name) => (['openEmbedded', 'enginePort', 'close'].includes(name) ? panic : undefined));
    expect((await media.generateToken('room', ann)).url).toBe(await media.mediaUrl());
    await platform.close();
  });
});

describe('the network configuration', () => {
  test('is not read: neither proxies nor certificate authorities', async () => {
    const { media, platform } = loadOverCore((name, original) => (name === 'configureNetwork' ? () => { throw new Error('read'); } : original), EMBEDDED);
    for (const call of Object.values(calls)) await call(media);
    await platform.close();
  });
});

describe('a stack', () => {
  test('contains the awaiting functions', async () => {
    const { port } = await occupy();
    const { media } = openEmbedded({ port });
    const each = {
      createRoom: () => media.createRoom('room'),
      generateToken: () => media.generateToken('room', ann),
      mediaUrl: () => media.mediaUrl(),
    };
    for (const [operation, call] of Object.entries(each)) {
      async function route() {
        await call();
      }
      async function outer() {
        await route();
      }
      const error = await failureOf(outer());
      expect([error.operation, error.code]).toEqual([operation, 'INVALID_CONFIG']);
      expect(error.stack).toMatch(/^MediaError: /);
      expect(error.stack).toMatch(new RegExp(`route .*${path.basename(__filename)}[^]*outer .*${path.basename(__filename)}`));
    }
  });
});

test('hot reload in Vite SSR keeps the engine and its rooms', async () => {
  const folder = temporaryFolder();
  installCopy(folder, 'linked');
  fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  fs.writeFileSync(
    path.join(folder, 'rooms.js'),
    `import { getPlatform } from '@maravilla-labs/platform';
    export const { media } = getPlatform();`,
  );
  const result = await resultOf(
    `import { createServer } from ${JSON.stringify(require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js'))};
    const vite = await createServer({ root: ${JSON.stringify(folder)}, configFile: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true } });
    const first = await vite.ssrLoadModule('/rooms.js');
    await first.media.createRoom('kept');
    vite.moduleGraph.invalidateAll();
    const second = await vite.ssrLoadModule('/rooms.js');
    const result = { reloaded: first !== second, rooms: (await second.media.listRooms()).map(({ name }) => name), same: (await first.media.mediaUrl()) === (await second.media.mediaUrl()) };
    await vite.close();
    console.log(JSON.stringify(result));`,
    { cwd: folder, module: true, env: { MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_HOST: '127.0.83.1' } },
  );
  expect(result).toEqual({ reloaded: true, rooms: ['kept'], same: true });
});

test('createPlatform without an addon throws INVALID_CONFIG', async () => {
  const copy = installCopy(temporaryFolder(), 'none');
  const failure = await resultOf(
    `try { require(entry).createPlatform({ provider: 'embedded' }); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
    { entry: copy },
  );
  expect(failure.code).toBe('INVALID_CONFIG');
  expect(createPlatform({ provider: 'none' }).media).toBeUndefined();
});
