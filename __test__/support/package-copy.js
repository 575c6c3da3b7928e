'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { root } = require('./child.js');

const addons = () => fs.readdirSync(root).filter((name) => name.endsWith('.node'));
const parts = ['index.js', 'index.d.ts', 'edge.js', 'otel.js', 'otel.d.ts', 'vite.js', 'vite.d.ts', 'facade', 'binding.js', 'package.json'];

const folders = [];

/** A new folder that is removed when the test process ends. */
function temporaryFolder() {
  // One listener for all folders, because Node warns about more than ten.
  if (folders.length === 0) process.once('exit', () => folders.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true })));
  const folder = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'platform-test-'));
  folders.push(folder);
  return folder;
}

/**
 * Installs a copy of the package under `folder/node_modules` and gives the path of its entry.
 * @param {string} folder
 * @param {'copied' | 'linked' | 'none' | 'broken'} [addon] a copy, a hard link, none, or an invalid file
 */
function installCopy(folder, addon = 'copied') {
  const home = path.join(folder, 'node_modules/@maravilla-labs/platform');
  fs.mkdirSync(home, { recursive: true });
  for (const part of parts) fs.cpSync(path.join(root, part), path.join(home, part), { recursive: true });
  for (const name of addons()) {
    const [from, to] = [path.join(root, name), path.join(home, name)];
    if (addon === 'copied') fs.copyFileSync(from, to);
    if (addon === 'linked') linkOrCopy(from, to);
    if (addon === 'broken') fs.writeFileSync(to, 'no library');
  }
  return path.join(home, 'index.js');
}

function linkOrCopy(from, to) {
  try {
    fs.linkSync(from, to);
  } catch (error) {
    // Hard links do not cross file systems.
    if (error.code !== 'EXDEV') throw error;
    fs.copyFileSync(from, to);
  }
}

module.exports = { addons, installCopy, temporaryFolder };
