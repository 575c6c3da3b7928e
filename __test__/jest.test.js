'use strict';

// Runs jest: which rooms the test files of an app share when they run in one process.

require('./support/environment.js');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const ts = require('typescript');
const { root } = require('./support/child.js');
const { cleanEnv } = require('./support/environment.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const jestProgram = path.join(root, 'node_modules/jest/bin/jest.js');

/** The set-up in docs/testing.md. */
function setup() {
  const page = fs.readFileSync(path.join(root, 'docs/testing.md'), 'utf8');
  const [, code] = /```ts\n\/\/ setup-media\.ts.*?\n(.*?)```/s.exec(page);
  return ts.transpileModule(code, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 } }).outputText;
}

/**
 * Runs three test files of an app in one process: each records which rooms exist, then creates one.
 * @param {{ setup?: string, env?: Record<string, string>, before?: string }} options
 */
async function roomsSeen({ setup: code = '', env = {}, before = '' }) {
  const folder = temporaryFolder();
  installCopy(folder, 'linked');
  const seen = path.join(folder, 'seen.txt');
  fs.writeFileSync(path.join(folder, 'package.json'), '{}');
  fs.writeFileSync(path.join(folder, 'setup.js'), code);
  fs.writeFileSync(path.join(folder, 'jest.config.js'), `module.exports = { setupFilesAfterEnv: ['<rootDir>/setup.js'], transform: {} };`);
  for (const file of ['a', 'b', 'c']) {
    fs.writeFileSync(
      path.join(folder, `${file}.test.js`),
      `const { getPlatform } = require('@maravilla-labs/platform');
      ${before}
      test('${file}', async () => {
        const { media } = getPlatform();
        require('fs').appendFileSync(${JSON.stringify(seen)}, (await media.listRooms()).length + ' ');
        await media.createRoom('room of ${file}');
      });`,
    );
  }
  await promisify(execFile)(process.execPath, [jestProgram, '-i', '--rootDir', folder], { cwd: folder, env: { ...cleanEnv(), ...env } });
  return fs.readFileSync(seen, 'utf8').trim();
}

const named = { MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_HOST: '127.0.84.1' };

test('files share the engine of the process and its rooms', async () => {
  expect(await roomsSeen({ env: named })).toBe('0 1 2');
});

test('each test file with the setup of docs/testing.md has its own engine', async () => {
  expect(await roomsSeen({ setup: setup() })).toBe('0 0 0');
});

test('files with different prefixes list only their own rooms', async () => {
  expect(await roomsSeen({ env: named, before: `process.env.MARAVILLA_MEDIA_ROOM_PREFIX = __filename + ':';` })).toBe('0 0 0');
});
