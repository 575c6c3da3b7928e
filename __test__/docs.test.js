'use strict';

// Runs the test in docs/testing.md.

require('./support/environment.js');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { root } = require('./support/child.js');
const { cleanEnv } = require('./support/environment.js');
const { installCopy, temporaryFolder } = require('./support/package-copy.js');

const page = fs.readFileSync(path.join(root, 'docs/testing.md'), 'utf8');

test('the documented test passes, and its process exits', async () => {
  const [, name, code] = /```js\n\/\/ (call\.test\.js)\n(.*?)```/s.exec(page);
  const folder = temporaryFolder();
  installCopy(folder, 'linked');
  fs.symlinkSync(path.join(root, 'node_modules/@livekit'), path.join(folder, 'node_modules/@livekit'));
  fs.writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  fs.writeFileSync(path.join(folder, name), code);
  const { stdout } = await promisify(execFile)(process.execPath, ['--test'], { cwd: folder, env: cleanEnv() });
  expect(stdout).toMatch(/pass 1\n/);
  expect(stdout).toMatch(/fail 0\n/);
});

test('the workflow has at most 12 lines, and the test at most 35', () => {
  const linesOf = (/** @type {string} */ language) => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(page)[1].trim().split('\n').length;
  expect(linesOf('yaml')).toBeLessThanOrEqual(12);
  expect(linesOf('js')).toBeLessThanOrEqual(35);
});
