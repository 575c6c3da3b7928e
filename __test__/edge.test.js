'use strict';

// The entry for workers, edge runtimes and browsers.

require('./support/environment.js');
const fs = require('node:fs');
const { builtinModules } = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const platform = require('../index.js');
const edge = require('../edge.js');
const { resultOf, root } = require('./support/child.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const vite = require.resolve('vite').replace(/index\.cjs$/, 'dist/node/index.js');
const CONDITIONS = ['workerd', 'edge-light', 'worker', 'browser'];

afterEach(() => {
  delete globalThis.platform;
  delete globalThis.__maravilla_platform;
});

test('the edge entry exports what the package exports', () => {
  expect(Object.keys(edge).sort()).toEqual(Object.keys(platform).sort());
});

test.each(CONDITIONS)('the condition %s selects the edge entry, for require and import, without an addon', async (condition) => {
  const folder = temporaryFolder();
  installCopy(folder, 'none');
  const result = await resultOf(
    `import { createRequire } from 'node:module';
    import { getPlatform, isMediaError, MediaError, createPlatform, clearPlatformCache, runWithRequest, getCurrentRequestStore } from '@maravilla-labs/platform';
    const required = createRequire(${JSON.stringify(path.join(folder, 'x.js'))}).resolve('@maravilla-labs/platform');
    console.log(JSON.stringify([required.endsWith('edge.js'), getPlatform({ provider: 'embedded' }).media === undefined]));`,
    { cwd: folder, module: true, flags: [`--conditions=${condition}`] },
  );
  expect(result).toEqual([true, true]);
});

test('without a condition the whole package is loaded', async () => {
  const folder = temporaryFolder();
  const entry = installCopy(folder, 'none');
  expect(await resultOf(`console.log(JSON.stringify(require.resolve('@maravilla-labs/platform')));`, { cwd: folder })).toBe(entry);
});

test('the edge entry uses no built-ins and no globals of Node.js', () => {
  const seen = [];
  const load = (file) => {
    seen.push(path.relative(root, file));
    const module = { exports: {} };
    const requireFrom = (specifier) => {
      expect(builtinModules).not.toContain(specifier.replace('node:', ''));
      expect(specifier).toMatch(/^\./);
      return load(path.join(path.dirname(file), specifier));
    };
    vm.runInNewContext(`(function (require, module) {${fs.readFileSync(file, 'utf8')}\n})`, {})(requireFrom, module);
    return module.exports;
  };
  const loaded = load(path.join(root, 'edge.js'));
  expect(loaded.getPlatform().media).toBeUndefined();
  expect(seen.length).toBeGreaterThan(1);
  expect(seen).not.toContain('binding.js');
});

describe('the edge entry', () => {
  test.each(['platform', '__maravilla_platform'])('returns the platform injected as globalThis.%s', (name) => {
    expect(edge.getPlatform()).toEqual({});
    globalThis[name] = { kv: 1, media: { own: true } };
    expect(edge.getPlatform()).toBe(globalThis[name]);
    expect(edge.getPlatform({ provider: 'embedded' })).toBe(globalThis[name]);
  });

  test('returns the same empty platform each time if none is injected', () => {
    const empty = edge.getPlatform();
    edge.clearPlatformCache();
    expect(edge.getPlatform({ devServerUrl: 'http://x.example', tenant: 'acme' })).toBe(empty);
    expect(empty.media).toBeUndefined();
  });

  test('createPlatform() makes empty platforms that can be closed', async () => {
    const own = edge.createPlatform({ provider: 'embedded' });
    expect(own.media).toBeUndefined();
    expect(await own.close()).toBeUndefined();
    expect(await own[Symbol.asyncDispose]()).toBeUndefined();
  });

  test('has the errors of the package', () => {
    expect(edge.isMediaError(new platform.MediaError('TIMEOUT', 'no answer'))).toBe(true);
    expect(platform.isMediaError(new edge.MediaError('TIMEOUT', 'no answer'))).toBe(true);
  });
});

describe.each(Object.entries({ 'the package': platform, 'the edge entry': edge }))('%s', (_, { getCurrentRequestStore, runWithRequest }) => {
  test('runWithRequest() returns the result of the function', async () => {
    const work = jest.fn(() => 'result');
    expect(runWithRequest(new Request('http://app.example'), work)).toBe('result');
    expect(work).toHaveBeenCalledTimes(1);
    expect(await runWithRequest(undefined, async () => 'later')).toBe('later');
    const failure = new Error('its own');
    const fail = () => {
      throw failure;
    };
    expect(() => runWithRequest({}, fail)).toThrow(failure);
  });

  test('getCurrentRequestStore() is undefined inside and outside a request', () => {
    expect(getCurrentRequestStore()).toBeUndefined();
    expect(runWithRequest({}, getCurrentRequestStore)).toBeUndefined();
  });
});

describe('a bundle', () => {
  /** The script that Vite builds from an app. */
  async function bundle(ssr) {
    const folder = temporaryFolder();
    installCopy(folder, 'none');
    fs.writeFileSync(path.join(folder, 'app.js'), `import { getPlatform, isMediaError } from '@maravilla-labs/platform';\nglobalThis.app = { getPlatform, isMediaError };`);
    const input = JSON.stringify(path.join(folder, 'app.js'));
    return resultOf(
      `import { build } from ${JSON.stringify(vite)};
      const build_ = { write: false, minify: false, rollupOptions: { input: ${input} } };
      const ssr = { target: 'webworker', noExternal: true, resolve: { conditions: ['workerd', 'worker'] } };
      const { output } = await build({ root: ${JSON.stringify(folder)}, configFile: false, logLevel: 'error', ...(${ssr} ? { ssr, build: { ...build_, ssr: ${input} } } : { build: build_ }) });
      console.log(JSON.stringify(output.map(({ code }) => code).join('\\n')));`,
      { cwd: folder, module: true },
    );
  }

  const run = (code, globals) => {
    const context = vm.createContext({ ...globals });
    vm.runInContext(code.replace(/^export .*$/m, ''), context);
    return context.app;
  };

  test('for a worker returns a platform without media', async () => {
    const code = await bundle(true);
    expect(code).not.toMatch(/node:|\.node\b/);
    expect(run(code, {}).getPlatform().media).toBeUndefined();
    const injected = { media: {} };
    expect(run(code, { platform: injected }).getPlatform()).toBe(injected);
  });

  test('for a browser throws INVALID_CONFIG when media is read', async () => {
    const code = await bundle(false);
    expect(code).not.toMatch(/node:|\.node\b/);
    const app = run(code, { document: {} });
    const found = app.getPlatform();
    const expected = { name: 'MediaError', code: 'INVALID_CONFIG' };
    expect(() => found.media).toThrow(expect.objectContaining(expected));
    expect(JSON.stringify(found)).toBe('{}');
  });
});
