'use strict';

// The build, its types and shared files.

const { execFile } = require('node:child_process');
const { existsSync, readFileSync, readdirSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { apps, folderOf } = require('../../../test-support/example-server.js');
const decoySecrets = require('../support/decoy-secrets.json');
const { STORY_MS } = require('../support/use-app.js');

/** @param {import('../../../test-support/example-server.js').Name} name */
function describeBuild(name) {
  const filesIn = (folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name));

  it('scripts for browsers contain neither secrets nor server code', () => {
    const secrets = [...Object.values(decoySecrets), 'maravilla-labs/platform', 'maravilla-labs', '.node"', 'generateToken', 'SESSION_SECRET', 'node:crypto'];
    const folders = apps[name].client.map((folder) => path.join(folderOf(name), folder)).filter((folder) => existsSync(folder));
    const files = folders.flatMap(filesIn);
    expect(files.filter((file) => file.endsWith('.js')).length).toBeGreaterThan(2);
    const found = files.flatMap((file) => {
      const text = readFileSync(file, 'latin1');
      return secrets.filter((secret) => text.includes(secret)).map((secret) => `${secret} in ${path.relative(folderOf(name), file)}`);
    });
    expect(found).toEqual([]);
  });

  it('npm run typecheck reports no errors', async () => {
    const errors = await promisify(execFile)('npm', ['run', 'typecheck'], { cwd: folderOf(name) }).then(() => '', ({ stdout }) => stdout);
    expect(errors).toBe('');
  }, STORY_MS);

  it('both apps have the same call.ts and huddle.css', () => {
    const files = { 'react-router': ['app/lib/call.ts', 'app/huddle.css'], sveltekit: ['src/lib/call.ts', 'src/huddle.css'] };
    const read = (app) => files[app].map((file) => readFileSync(path.join(folderOf(app), file), 'utf8'));
    expect(read('react-router')).toEqual(read('sveltekit'));
  });
}

module.exports = { describeBuild };
