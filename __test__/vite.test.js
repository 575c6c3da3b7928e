'use strict';

// .env is edited while a Vite dev server runs: Vite restarts within the process, which keeps this package's module.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { resultOf } = require('./support/child.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');

const file = (url, more = '') => `LIVEKIT_URL=${url}\nLIVEKIT_API_KEY=key\nLIVEKIT_API_SECRET=secret\n${more}`;

/** How frameworks pass .env to the app. */
const FRAMEWORKS = {
  'exports .env as an object (SvelteKit 2)': {
    plugin: `{
      name: 'env',
      resolveId: (id) => (id === '$env/dynamic/private' ? '\\0env' : undefined),
      load: (id) => (id === '\\0env' ? \`export const env = \${JSON.stringify(loadEnv('development', root, ['LIVEKIT_', 'MARAVILLA_']))};\` : undefined),
    }`,
    call: (more) => `import { env } from '$env/dynamic/private';\nexport const open = () => getPlatform({ ${more}env });`,
  },
  'exports each variable of .env (SvelteKit 3)': {
    plugin: `{
      name: 'env',
      resolveId: (id) => (id === '$app/env/private' ? '\\0env' : undefined),
      load: (id) => {
        if (id !== '\\0env') return undefined;
        const variables = Object.entries(loadEnv('development', root, ['LIVEKIT_', 'MARAVILLA_']));
        return variables.map(([name, value]) => 'export const ' + name + ' = ' + JSON.stringify(value) + ';').join('\\n');
      },
    }`,
    call: (more) => `import * as env from '$app/env/private';\nexport const open = () => getPlatform({ ${more}env });`,
  },
  'puts .env into process.env': {
    plugin: `{ name: 'env', configResolved: () => void Object.assign(process.env, parseEnv(readFileSync(file, 'utf8'))) }`,
    call: (more) => `export const open = () => getPlatform({ ${more}});`,
  },
};

describe.each(Object.entries(FRAMEWORKS))('a framework that %s', (framework, { plugin, call }) => {
  /** Loads the app, writes `next` into .env, loads the app again after Vite's restart, and returns the result of each load. */
  async function edit(next, code) {
    const root = temporaryFolder();
    installCopy(root, 'linked');
    fs.writeFileSync(path.join(root, 'package.json'), '{"type":"module"}');
    fs.writeFileSync(path.join(root, '.env'), file('wss://before.example'));
    fs.writeFileSync(path.join(root, 'rooms.js'), `import { getPlatform } from '@maravilla-labs/platform';\n${code}`);
    return resultOf(
      `import { readFileSync, writeFileSync } from 'node:fs';
      import { parseEnv } from 'node:util';
      import { createServer, loadEnv } from ${JSON.stringify(vite)};
      process.on('warning', () => {});
      const root = ${JSON.stringify(root)};
      const file = root + '/.env';
      const server = await createServer({ root, configFile: false, appType: 'custom', logLevel: 'error', server: { middlewareMode: true, ws: false }, optimizeDeps: { noDiscovery: true }, plugins: [${plugin}] });
      const { restart } = server;
      const restarted = new Promise((resolve, reject) => (server.restart = () => restart().then(resolve, reject)));
      const load = async () => {
        const { open } = await server.ssrLoadModule('/rooms.js');
        try {
          const platform = open();
          return { platform, again: open() === platform, url: (await platform.media?.mediaUrl()) ?? null };
        } catch ({ code, message }) {
          return { code, message };
        }
      };
      const before = await load();
      writeFileSync(file, ${JSON.stringify(next)});
      await restarted;
      const after = await load();
      await server.close();
      console.log(JSON.stringify([{ ...before, platform: undefined }, { ...after, platform: undefined }, before.platform === after.platform]));`,
      { cwd: root, module: true },
    );
  }

  test('applies the new configuration', async () => {
    const [before, after, same] = await edit(file('wss://after.example'), call(''));
    expect(before).toEqual({ again: true, url: 'wss://before.example' });
    expect(after).toEqual({ again: true, url: 'wss://after.example' });
    expect(same).toBe(false);
  });

  test('keeps the platform if no variable that it reads has changed', async () => {
    const [before, after, same] = await edit(file('wss://before.example', 'SOMETHING_ELSE=1\n'), call(`roomPrefix: 'app:', `));
    expect(after).toEqual(before);
    expect(same).toBe(true);
  });

  // Independent of the framework, so tested in one.
  if (framework !== Object.keys(FRAMEWORKS)[0]) return;

  test('keeps the options given in code', async () => {
    const [before, after] = await edit(file('wss://after.example'), call(`url: 'wss://code.example', `));
    expect([before.url, after.url]).toEqual(['wss://code.example', 'wss://code.example']);
  });

  test('applies a new provider', async () => {
    const [before, after] = await edit('MARAVILLA_MEDIA_PROVIDER=none\n', call(''));
    expect([before.url, after.url]).toEqual(['wss://before.example', null]);
  });
});
