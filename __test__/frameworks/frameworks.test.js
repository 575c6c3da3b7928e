'use strict';

// The packed package, built by frameworks and bundlers without configuration, and served.

require('../support/environment.js');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { HOST, answersHttp, freeTcpPorts, launch, untilReady } = require('../../test-support/processes.js');
const { temporaryFolder } = require('../support/package-copy.js');

const run = promisify(execFile);
/** The first run installs the packages of every framework. */
const INSTALL_MS = 900_000;
const BUILD_MS = 600_000;
const SERVE_MS = 60_000;

/** @type {{ node: string, tarballs: string[], folders: Record<string, string> }} */
let ready;
beforeAll(async () => {
  const { stdout } = await run(process.execPath, [path.join(__dirname, '../../test-support/frameworks.mjs')], { maxBuffer: 1e8 });
  ready = JSON.parse(stdout.trim().split('\n').at(-1));
}, INSTALL_MS);

const environment = () => ({
  PATH: [path.dirname(ready.node), process.env.PATH].join(path.delimiter),
  HOME: process.env.HOME,
  ASTRO_TELEMETRY_DISABLED: '1',
  NEXT_TELEMETRY_DISABLED: '1',
});

/** Runs a command that the app has installed. @param {string} app @param {string[]} command @param {string} [cwd] */
async function build(app, [program, ...args], cwd = ready.folders[app]) {
  const { stdout, stderr } = await run(path.join(ready.folders[app], 'node_modules/.bin', program), args, { cwd, env: environment(), maxBuffer: 1e8 });
  return stdout + stderr;
}

/** A copy of a build's output, away from the app's node_modules. @param {string} folder */
function deployed(folder) {
  const copy = path.join(temporaryFolder(), 'app');
  fs.cpSync(folder, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

/** Starts the app and returns the response of its route. @param {string} cwd @param {string[]} command */
async function call(cwd, [program, ...args]) {
  const [port] = await freeTcpPorts(1);
  const env = { ...environment(), NODE_ENV: 'production', MARAVILLA_MEDIA_PROVIDER: 'embedded', HOST, HOSTNAME: HOST, PORT: String(port) };
  const server = launch(program, args, env, { cwd });
  try {
    await untilReady(server, () => answersHttp(port, (status) => status < 500), SERVE_MS);
    // Without a content type, SvelteKit rejects the request as a cross-site form.
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`http://${HOST}:${port}/api/call`, { method: 'POST', headers, body: '{}' });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}\n${server.logs()}`);
    return JSON.parse(text);
  } finally {
    await server.stop();
  }
}

const TEA = { name: 'tea' };

describe('frameworks', () => {
  test.each(['turbopack', 'webpack'])('Next.js with %s, also its standalone output', async (bundler) => {
    const { next } = ready.folders;
    fs.rmSync(path.join(next, '.next'), { recursive: true, force: true });
    await build('next', ['next', 'build', `--${bundler}`]);
    expect(await call(next, [ready.node, 'node_modules/next/dist/bin/next', 'start', '-H', HOST])).toEqual(TEA);
    expect(await call(deployed(path.join(next, '.next/standalone')), [ready.node, 'server.js'])).toEqual(TEA);
  }, BUILD_MS);

  test('the output of Nuxt', async () => {
    await build('nuxt', ['nuxt', 'build']);
    expect(await call(deployed(path.join(ready.folders.nuxt, '.output')), [ready.node, 'server/index.mjs'])).toEqual(TEA);
  }, BUILD_MS);

  test('the output of Nitro as a Vite plugin', async () => {
    await build('nitro', ['vite', 'build']);
    expect(await call(deployed(path.join(ready.folders.nitro, '.output')), [ready.node, 'server/index.mjs'])).toEqual(TEA);
  }, BUILD_MS);

  test('SvelteKit, with the package bundled', async () => {
    await build('sveltekit', ['vite', 'build']);
    expect(await call(ready.folders.sveltekit, [ready.node, 'build/index.js'])).toEqual(TEA);
  }, BUILD_MS);

  test('Astro', async () => {
    await build('astro', ['astro', 'build']);
    expect(await call(ready.folders.astro, [ready.node, 'dist/server/entry.mjs'])).toEqual(TEA);
  }, BUILD_MS);

  test('TanStack Start', async () => {
    await build('tanstack-start', ['vite', 'build']);
    expect(await call(ready.folders['tanstack-start'], [ready.node, 'serve.js'])).toEqual(TEA);
  }, BUILD_MS);
});

describe('bundlers', () => {
  const BANNER = "--banner:js=import{createRequire}from'node:module';const require=createRequire(import.meta.url);";

  /** @type {[title: string, command: string[], file: string][]} */
  const BUILDS = [
    ['esbuild to CommonJS', ['esbuild', 'serve.js', '--bundle', '--platform=node', '--outfile=dist/esbuild.cjs'], 'dist/esbuild.cjs'],
    ['esbuild to ES modules', ['esbuild', 'serve.js', '--bundle', '--platform=node', '--format=esm', BANNER, '--outfile=dist/esbuild.mjs'], 'dist/esbuild.mjs'],
    ['rollup', ['rollup', '--config'], 'dist/rollup.mjs'],
    ['Vite with ssr.noExternal', ['vite', 'build'], 'dist/vite.mjs'],
    ['webpack', ['webpack', '--mode=production', '--target=node20', '--entry=./serve.js', '--output-path=dist', '--output-filename=webpack.cjs'], 'dist/webpack.cjs'],
    ['bun build', ['bun', 'build', 'serve.js', '--target=node', '--outfile=dist/bun.mjs'], 'dist/bun.mjs'],
    ['deno bundle', ['deno', 'bundle', 'serve.js', '-o', 'dist/deno.mjs'], 'dist/deno.mjs'],
  ];

  test.each(BUILDS)('%s', async (_, command, file) => {
    const printed = await build('bundlers', command);
    expect(printed).not.toMatch(/\.node\b.*(?:not found|resolve)|circular/i);
    expect(await call(ready.folders.bundlers, [ready.node, file])).toEqual(TEA);
  }, BUILD_MS);

  test('bun build --compile makes a program that contains the addon', async () => {
    const file = path.join(temporaryFolder(), 'program');
    await build('bundlers', ['bun', 'build', 'serve.js', '--compile', `--outfile=${file}`]);
    expect(await call('/', [file])).toEqual(TEA);
  }, BUILD_MS);

  test('@vercel/nft finds the addon, and reports no missing file', async () => {
    const code = `import { nodeFileTrace } from '@vercel/nft';
      const { fileList, warnings } = await nodeFileTrace(['serve.js']);
      console.log(JSON.stringify({ addons: [...fileList].filter((file) => file.endsWith('.node')).length, warnings: [...warnings].map(String) }));`;
    const { stdout } = await run(ready.node, ['--input-type=module', '--eval', code], { cwd: ready.folders.bundlers });
    expect(JSON.parse(stdout)).toEqual({ addons: 1, warnings: [] });
  });
});

test.each([
  ['Bun', ['bun', 'serve.js']],
  ['Deno', ['deno', 'run', '--allow-all', 'serve.js']],
])('%s runs an app', async (_, [program, ...args]) => {
  const { bundlers } = ready.folders;
  expect(await call(bundlers, [path.join(bundlers, 'node_modules/.bin', program), ...args])).toEqual(TEA);
}, SERVE_MS);

describe('package managers without hoisting', () => {
  /** A workspace with the app and the tarballs. @param {Record<string, string>} files */
  function workspace(files) {
    const folder = temporaryFolder();
    const app = path.join(folder, 'packages/app');
    fs.mkdirSync(app, { recursive: true });
    const dependencies = Object.fromEntries(ready.tarballs.map((file) => [`@maravilla-labs/${path.basename(file).replace('maravilla-labs-', '').replace(/-\d.*$/, '')}`, `file:${file}`]));
    const write = (name, content) => fs.writeFileSync(path.join(folder, name), content);
    write('packages/app/package.json', JSON.stringify({ name: 'app', version: '1.0.0', type: 'module', dependencies }));
    fs.copyFileSync(path.join(ready.folders.bundlers, 'serve.js'), path.join(app, 'serve.js'));
    for (const [name, content] of Object.entries(files)) write(name, content);
    return { folder, app };
  }

  test('Yarn with Plug’n’Play', async () => {
    const root = JSON.stringify({ name: 'root', private: true, workspaces: ['packages/*'] });
    const { folder, app } = workspace({ 'package.json': root, 'yarn.lock': '', '.yarnrc.yml': 'nodeLinker: pnp\nenableTelemetry: false\nenableGlobalCache: false\n' });
    await build('bundlers', ['yarn', 'install', '--no-immutable'], folder);
    expect(await call(app, [path.join(ready.folders.bundlers, 'node_modules/.bin/yarn'), 'node', 'serve.js'])).toEqual(TEA);
  }, BUILD_MS);

  test('pnpm with hoist=false', async () => {
    const { folder, app } = workspace({ 'package.json': '{"private":true}', 'pnpm-workspace.yaml': 'packages: ["packages/*"]\nhoist: false\n' });
    await build('bundlers', ['pnpm', 'install', '--no-frozen-lockfile'], folder);
    expect(await call(app, [ready.node, 'serve.js'])).toEqual(TEA);
  }, BUILD_MS);
});
