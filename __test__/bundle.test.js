'use strict';

// The package in a bundle: the addon is not bundled, and is found at run time.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { resultOf, root, runNode } = require('./support/child.js');
const { addons, installCopy, temporaryFolder } = require('./support/package-copy.js');

const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');
const [addon] = addons();
const target = addon.split('.')[1];

const APP = `import { createPlatform } from '@maravilla-labs/platform';
export const createRoom = async () => {
  try {
    const { media } = createPlatform({ provider: 'embedded' });
    return { room: (await media.createRoom('room')).name };
  } catch ({ code, message }) {
    return { code, message };
  }
};
createRoom().then((value) => console.log(JSON.stringify(value)));
`;

/** Folder of the app, with the package and its addon. */
let app;
/** @type {Record<'es' | 'cjs', string>} The bundle of each format. */
const bundles = {};

beforeAll(async () => {
  app = temporaryFolder();
  installCopy(app, 'none');
  const home = path.join(app, `node_modules/@maravilla-labs/platform-${target}`);
  fs.mkdirSync(home);
  // Without package.json, as file tracers copy it.
  fs.linkSync(path.join(root, addon), path.join(home, addon));
  fs.writeFileSync(path.join(app, 'app.js'), APP);
  for (const format of ['es', 'cjs']) {
    bundles[format] = path.join(app, 'dist', format === 'es' ? 'app.mjs' : 'app.cjs');
    const config = {
      root: app,
      configFile: false,
      logLevel: 'error',
      ssr: { noExternal: true },
      build: { ssr: 'app.js', emptyOutDir: false, rolldownOptions: { output: { format, entryFileNames: path.basename(bundles[format]) } } },
    };
    const { code, stderr } = await runNode(`import { build } from ${JSON.stringify(vite)}; await build(${JSON.stringify(config)});`, { module: true, cwd: app });
    if (code !== 0) throw new Error(stderr);
  }
});

/** Output of a bundle. @param {string} bundle @param {Parameters<typeof resultOf>[1]} [options] */
const outputOf = (bundle, options) => resultOf(`process.argv[1] = ${JSON.stringify(bundle)}; import(${JSON.stringify(bundle)});`, { cwd: '/', ...options });

/** A copy of the bundle where no addon is installed. @param {'es' | 'cjs'} format */
function moved(format) {
  const bundle = path.join(temporaryFolder(), path.basename(bundles[format]));
  fs.copyFileSync(bundles[format], bundle);
  return bundle;
}

describe.each(/** @type {const} */ (['es', 'cjs']))('a bundle (%s)', (format) => {
  test('contains the package, and loads the addon from node_modules in a parent folder', async () => {
    expect(fs.readFileSync(bundles[format], 'utf8')).not.toMatch(/(?:from|require\()\s*["']@maravilla-labs\/platform["']/);
    expect(await outputOf(bundles[format])).toEqual({ room: 'room' });
  });

  test('loads the addon from node_modules of the working directory if the bundle was moved', async () => {
    expect(await outputOf(moved(format), { cwd: app })).toEqual({ room: 'room' });
  });

  test('loads the file in NAPI_RS_NATIVE_LIBRARY_PATH', async () => {
    const env = { NAPI_RS_NATIVE_LIBRARY_PATH: path.join(root, addon) };
    expect(await outputOf(moved(format), { env })).toEqual({ room: 'room' });
  });

  test('without an addon: INVALID_CONFIG, and the message names the package and the variable', async () => {
    const { code, message } = await outputOf(moved(format));
    expect(code).toBe('INVALID_CONFIG');
    for (const part of [`@maravilla-labs/platform-${target}`, 'NAPI_RS_NATIVE_LIBRARY_PATH']) expect(message).toContain(part);
  });

  test('fails with INVALID_CONFIG and names the file if the addon is truncated', async () => {
    const file = path.join(temporaryFolder(), addon);
    fs.writeFileSync(file, fs.readFileSync(path.join(root, addon)).subarray(0, 4096));
    const { code, message } = await outputOf(moved(format), { env: { NAPI_RS_NATIVE_LIBRARY_PATH: file } });
    expect(code).toBe('INVALID_CONFIG');
    expect(message).toContain(file);
  });
});

test('file tracers find the addon of every platform', () => {
  const { napi } = require('../package.json');
  const source = fs.readFileSync(path.join(root, 'facade/addon.js'), 'utf8');
  const targets = fs.readdirSync(path.join(root, 'npm'));
  expect(targets).toHaveLength(napi.targets.length);
  for (const each of targets) {
    expect(source).toContain(`path.join(__dirname, '../../platform-${each}/platform.${each}.node')`);
    expect(source).toContain(`__non_webpack_require__('@maravilla-labs/platform-${each}')`);
  }
});

test('the loader for Bun loads the addon', async () => {
  const script = `const { describeTarget, loadAddon } = require(${JSON.stringify(path.join(root, 'facade/addon.bun.js'))});
    console.log(JSON.stringify(typeof loadAddon(describeTarget()).createRoom));`;
  expect(await resultOf(script)).toBe('function');
});
