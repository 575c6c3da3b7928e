'use strict';

// Addons that are missing, damaged or built for another machine, and runtimes that cannot load them.

require('./support/environment.js');
const fs = require('node:fs');
const path = require('node:path');
const { resultOf, root, runNode } = require('./support/child.js');
const { addons, installCopy, temporaryFolder } = require('./support/package-copy.js');

const { engines, version } = require('../package.json');
const configured = { LIVEKIT_URL: 'ws://rooms.example', LIVEKIT_API_KEY: 'k', LIVEKIT_API_SECRET: 's' };

const glibc = process.report.getReport().header.glibcVersionRuntime !== undefined;
const target = { linux: `linux-${process.arch}-${glibc ? 'gnu' : 'musl'}`, win32: `win32-${process.arch}-msvc` }[process.platform] ?? `${process.platform}-${process.arch}`;
const addon = `platform.${target}.node`;
const tarball = `maravilla-labs-platform-${target}-${version}.tgz`;

const REMEDY = ['npm run pack', tarball, 'npm install', 'npm run build'];

/** The error of `getPlatform()` in a child process, after `before` has run there. */
function failureAfter(before, { entry, env = configured, flags = [] }) {
  return resultOf(
    `${before}
    const { getPlatform, isMediaError } = require(entry);
    try {
      getPlatform();
      console.log('null');
    } catch (error) {
      console.log(JSON.stringify({ is: isMediaError(error), code: error.code, operation: error.operation, retryable: error.retryable, message: error.message, cause: error.cause instanceof Error }));
    }`,
    { entry, env, flags },
  );
}

/** Installs a package of the addon beside a copy of this one. */
function installAddon(folder, bytes, of = target) {
  const home = path.join(folder, `node_modules/@maravilla-labs/platform-${of}`);
  const file = path.join(home, `platform.${of}.node`);
  fs.mkdirSync(home, { recursive: true });
  fs.writeFileSync(path.join(home, 'package.json'), JSON.stringify({ name: `@maravilla-labs/platform-${of}`, version, main: path.basename(file) }));
  if (bytes !== undefined) fs.writeFileSync(file, bytes);
  return file;
}

const library = () => fs.readFileSync(path.join(root, addon));

/** The library with changed bytes at an offset. */
function patched(offset, ...bytes) {
  const copy = library();
  copy.set(bytes, offset);
  return copy;
}

/** The library as if it had been linked with a future glibc. */
function fromTheFuture() {
  const copy = library();
  const newest = [...new Set(copy.toString('latin1').match(/GLIBC_\d+\.\d\d/g))].sort().at(-1);
  copy.write('GLIBC_9.99', copy.indexOf(`${newest}\0`));
  return copy;
}

test('a missing addon is INVALID_CONFIG in each call, and the message names the package and the commands', async () => {
  const entry = installCopy(temporaryFolder(), 'none');
  const failure = await failureAfter('', { entry });
  expect(failure).toMatchObject({ is: true, code: 'INVALID_CONFIG', operation: 'getPlatform', retryable: false, cause: true });
  for (const part of [target, ...REMEDY]) expect(failure.message).toContain(part);
  expect(await failureAfter(`try { require(entry).getPlatform(); } catch {}`, { entry })).toEqual(failure);
});

test('a failure names the other platforms for which an addon is installed', async () => {
  const folder = temporaryFolder();
  const entry = installCopy(folder, 'none');
  const others = ['darwin-arm64', 'linux-x64-musl'].filter((other) => other !== target);
  for (const other of others) installAddon(folder, 'no library', other);
  const { message } = await failureAfter('', { entry });
  for (const part of [...others, tarball]) expect(message).toContain(part);
});

test('a platform without an addon is INVALID_CONFIG, and the message lists the supported ones', async () => {
  const entry = installCopy(temporaryFolder(), 'none');
  const { message } = await failureAfter(`Object.defineProperty(process, 'arch', { value: 'riscv64' });`, { entry });
  for (const part of ['riscv64', 'linux-x64-gnu', 'darwin-arm64', 'win32-x64-msvc', 'npm run build']) expect(message).toContain(part);
  expect(message).not.toContain('npm run pack');
});

const onLinux = process.platform === 'linux' ? describe : describe.skip;
onLinux('an addon that is found but does not load', () => {
  /** @type {Record<string, [bytes: () => string | Buffer, reason: RegExp]>} */
  const DAMAGES = {
    'an empty file': [() => '', /too short/],
    'the first 4 KiB': [() => library().subarray(0, 4096), /truncated/],
    'the first half': [() => library().subarray(0, library().length / 2), /truncated/],
    'all but the last byte': [() => library().subarray(0, -1), /truncated/],
    'no library': [() => '<!doctype html>'.repeat(100), /invalid ELF header/],
    // Byte 4 is the word size, byte 18 the processor.
    '32 bits': [() => patched(4, 1), /wrong ELF class/],
    'another processor': [() => patched(18, process.arch === 'x64' ? 0xb7 : 0x3e, 0), /./],
    'a newer glibc': [fromTheFuture, /GLIBC_9\.99' not found/],
  };

  test.each(Object.entries(DAMAGES))("is reported with the system's reason: %s", async (_, [bytes, reason]) => {
    const folder = temporaryFolder();
    const entry = installCopy(folder, 'none');
    const file = installAddon(folder, bytes());
    const failure = await failureAfter('', { entry });
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG', cause: true });
    for (const part of [file, ...REMEDY]) expect(failure.message).toContain(part);
    expect(failure.message.split(`${file}: `)[1]).toMatch(reason);
    expect(failure.message).not.toContain('\n');
  });

  test('is reported if it is in the folder of the package', async () => {
    const entry = installCopy(temporaryFolder(), 'broken');
    const { message } = await failureAfter('', { entry });
    for (const part of [path.join(path.dirname(entry), addon), ...REMEDY]) expect(message).toContain(part);
  });

  test('is reported if NAPI_RS_NATIVE_LIBRARY_PATH names it', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'named.node');
    fs.writeFileSync(file, '');
    const { message } = await failureAfter('', { entry: installCopy(folder, 'linked'), env: { ...configured, NAPI_RS_NATIVE_LIBRARY_PATH: file } });
    for (const part of [`${file}: `, 'too short']) expect(message).toContain(part);
  });

  test('is reported if the process may not load addons', async () => {
    const entry = installCopy(temporaryFolder(), 'linked');
    const flag = Number(process.versions.node.split('.')[0]) < 23 ? '--experimental-permission' : '--permission';
    const { message } = await failureAfter('', { entry, flags: ['--no-warnings', flag, '--allow-fs-read=*'] });
    expect(message).toContain(addon);
  });

  test('is INVALID_CONFIG if its package has no library', async () => {
    const folder = temporaryFolder();
    const entry = installCopy(folder, 'none');
    installAddon(folder);
    const { code, message } = await failureAfter('', { entry });
    expect(code).toBe('INVALID_CONFIG');
    for (const part of REMEDY) expect(message).toContain(part);
  });
});

describe('a runtime with restrictions', () => {
  const denied = `() => { throw Object.assign(new Error('denied'), { code: 'ERR_ACCESS_DENIED' }); }`;
  const noLdd = `const { readFileSync } = require('fs'); require('fs').readFileSync = (file, ...rest) => { if (file === '/usr/bin/ldd') throw new Error('denied'); return readFileSync(file, ...rest); };`;

  test.each([
    ['no report', `Object.defineProperty(process, 'report', { value: undefined });`],
    ['a report that throws', `process.report.getReport = ${denied};`],
    ['a report without a header', `process.report.getReport = () => ({});`],
  ])('does not change the message: %s', async (_, before) => {
    const entry = installCopy(temporaryFolder(), 'none');
    const failure = await failureAfter(`${noLdd} require('child_process').execSync = ${denied}; ${before}`, { entry });
    expect(failure).toMatchObject({ code: 'INVALID_CONFIG' });
    for (const part of [process.platform === 'linux' ? `linux-${process.arch}-gnu` : target, 'npm run pack']) expect(failure.message).toContain(part);
  });
});

describe('an unsupported Node.js', () => {
  const oldNode = (node) => `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${node}' } }); delete String.prototype.isWellFormed;`;

  test.each(['18.20.8', '20.16.0', '16.0.0'])('%s is INVALID_CONFIG, and the message names the required version', async (node) => {
    const env = { ...configured, MARAVILLA_MEDIA_ROOM_PREFIX: 'app:' };
    const { code, message } = await failureAfter(oldNode(node), { entry: path.join(root, 'index.js'), env });
    expect(code).toBe('INVALID_CONFIG');
    expect(engines.node).toBe('>=20.17');
    for (const part of ['20.17', node]) expect(message).toContain(part);
  });

  test('can run an app without a provider', async () => {
    expect(await failureAfter(oldNode('18.20.8'), { entry: path.join(root, 'index.js'), env: { MARAVILLA_MEDIA_PROVIDER: 'none' } })).toBeNull();
  });

  test.each(['20.17.0', '20.20.2', '22.0.0', '100.0.0'])('is none of the supported: %s', async (node) => {
    const before = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${node}' } });`;
    expect(await failureAfter(before, { entry: path.join(root, 'index.js') })).toBeNull();
  });

  test.each(['bun', 'deno'])('is not detected in %s, which reports a Node.js version', async (runtime) => {
    const before = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.0.0', ${runtime}: '1.0.0' } });`;
    expect(await failureAfter(before, { entry: path.join(root, 'index.js') })).toBeNull();
  });

  test('is reported by the command line as a failure, not as a usage error', async () => {
    const program = path.join(root, 'bin/maravilla-media.js');
    const { code, stderr } = await runNode(`${oldNode('18.20.8')} process.argv = [process.argv[0], '', 'dev', '--port', '0']; require(${JSON.stringify(program)});`);
    expect(code).toBe(1);
    expect(stderr).toContain('20.17');
    expect(stderr).not.toContain('Usage');
  });
});

describe('without an addon', () => {
  test('everything works without a provider', async () => {
    const copy = installCopy(temporaryFolder(), 'none');
    const result = await resultOf(
      `const { getPlatform, createPlatform, clearPlatformCache, MediaError, isMediaError } = require(entry);
      const results = [getPlatform(), createPlatform(), createPlatform({ provider: 'none', apiKey: 'k' })].map(({ media }) => media === undefined);
      clearPlatformCache();
      globalThis.platform = { media: {} };
      results.push(getPlatform() === globalThis.platform, isMediaError(new MediaError('INTERNAL', 'x')));
      createPlatform().close().then(() => console.log(JSON.stringify(results)));`,
      { entry: copy },
    );
    expect(result).toEqual([true, true, true, true, true]);
  });

  test('an invalid configuration is reported before the missing addon', async () => {
    const copy = installCopy(temporaryFolder(), 'none');
    const { code, message } = await resultOf(
      `try { require(entry).createPlatform({ apiKey: 'k', apiSecret: 's', url: 'not a url' }); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
      { entry: copy },
    );
    expect(code).toBe('INVALID_CONFIG');
    expect(message).toContain('URL');
  });
});

test('the addon is found in the package of its platform', async () => {
  const folder = temporaryFolder();
  const entry = installCopy(folder, 'none');
  expect(addons()).toContain(addon);
  installAddon(folder, library());
  const url = await resultOf(`require(entry).getPlatform().media.mediaUrl().then((url) => console.log(JSON.stringify(url)));`, { entry, env: configured });
  expect(url).toBe('ws://rooms.example');
});
