'use strict';

// Addons of other targets, each loaded by a Node.js of its target: musl in a root without glibc, arm64 under QEMU.

const { cleanEnv } = require('../support/environment.js');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { version } = require('../../package.json');
const { readToken } = require('../support/token.js');

const run = promisify(execFile);
/** The first run compiles every dependency for each target. */
const BUILD_MS = 2_400_000;
const MAX_ADDON_BYTES = 14_000_000;
const key = { TEST_KEY: 'targets', TEST_SECRET: 'secretOfTheTargetsSuite' };

/** @type {Record<string, { addon: string, app: string, command: string[] }>} */
let apps;
beforeAll(async () => {
  const { stdout } = await run(process.execPath, [path.join(__dirname, '../../test-support/targets.mjs')], { maxBuffer: 1e8 });
  apps = JSON.parse(stdout.trim().split('\n').at(-1));
}, BUILD_MS);

/** Runs a script in an app's folder. @param {string} target @param {string[]} args */
async function node(target, ...args) {
  const { app, command } = apps[target];
  const { stdout } = await run(command[0], [...command.slice(1), ...args], { cwd: app, env: { ...cleanEnv(), ...key } });
  return stdout;
}

describe.each([
  ['linux-x64-musl', 'x64'],
  ['linux-arm64-gnu', 'arm64'],
])('%s', (target, arch) => {
  test('npm installs the addon of this target only', () => {
    expect(fs.readdirSync(path.join(apps[target].app, 'node_modules/@maravilla-labs')).sort()).toEqual(['platform', `platform-${target}`]);
  });

  test('an app creates a room, and a token that the engine accepts', async () => {
    const { token, ...result } = JSON.parse(await node(target, 'app.js'));
    expect(result).toEqual({ arch, node: '20.18.0', room: 'tea', rooms: [['tea', 7]], accepted: 200, rejected: 401 });
    const { claims } = readToken(token, key.TEST_SECRET);
    expect(claims).toMatchObject({ iss: key.TEST_KEY, sub: 'ann', name: 'Ann', video: { room: 'tea', roomJoin: true } });
  });

  test('the command prints its version', async () => {
    expect((await node(target, 'node_modules/@maravilla-labs/platform/bin/maravilla-media.js', '--version')).trim()).toBe(version);
  });

  test('the addon needs glibc 2.28 or older, and none with musl', () => {
    const found = fs.readFileSync(apps[target].addon, 'latin1').matchAll(/GLIBC_2\.(\d+)/g);
    const minors = Array.from(found, ([, minor]) => Number(minor));
    expect(minors.length > 0).toBe(target.endsWith('-gnu'));
    expect(Math.max(0, ...minors)).toBeLessThanOrEqual(28);
  });

  test('the addon is no larger than 14 MB', () => {
    expect(fs.statSync(apps[target].addon).size).toBeLessThan(MAX_ADDON_BYTES);
  });
});
