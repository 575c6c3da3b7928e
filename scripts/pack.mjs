// npm run pack: dist/ with the package and this machine's platform package, ready for `npm install`. `-- --target TRIPLE`, once or more often, adds
// the platform packages of other targets. `-- --release` writes the licences and third-party notices of all targets into npm/, for publishing.
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { platformOf } from './build.mjs';
import { ensureAddon } from './setup.mjs';
import { UserError, main, onPath, root, run, say } from './shell.mjs';

export const dist = path.join(root, 'dist');
const packages = path.join(root, 'npm');
const manifest = () => JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];
const NOTICES = 'THIRD-PARTY-NOTICES.md';

/**
 * Packs the main package and the platform packages. Resolves with the paths of the tarballs, the main package's first.
 * @param {string[]} [targets] Further targets than this machine's.
 * @param {string} [folder] Emptied first.
 */
export async function pack(targets = [], folder = dist) {
  const addons = new Set([await ensureAddon()]);
  for (const target of targets) addons.add(await ensureAddon(target));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(os.tmpdir(), 'pack-'));
  try {
    stageMain(work);
    const tarballs = [await packFolder(work, folder)];
    for (const addon of addons) tarballs.push(await packFolder(await stagePlatform(path.join(work, 'platform'), addon), folder));
    return tarballs;
  } finally {
    rmSync(work, { recursive: true });
  }
}

async function packFolder(source, folder) {
  const printed = await run(['npm', 'pack', source, '--json', '--pack-destination', folder], { quiet: true });
  return path.join(folder, JSON.parse(printed)[0].filename);
}

/**
 * Copies the main package and declares the addon packages as optional peer dependencies: with Yarn PnP, and with pnpm without hoisting,
 * a package resolves only declared dependencies. In a release to npm they are optional dependencies, which `napi` adds.
 */
function stageMain(folder) {
  const { ...staged } = manifest();
  for (const name of [...staged.files, 'README.md']) cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  const addons = readdirSync(packages).map((platform) => `${staged.name}-${platform}`);
  staged.peerDependencies = { ...staged.peerDependencies, ...Object.fromEntries(addons.map((name) => [name, staged.version])) };
  staged.peerDependenciesMeta = { ...staged.peerDependenciesMeta, ...Object.fromEntries(addons.map((name) => [name, { optional: true }])) };
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(staged, null, 2)}\n`);
}

async function stagePlatform(folder, addon) {
  const platform = path.basename(addon).split('.')[1];
  rmSync(folder, { recursive: true, force: true });
  cpSync(path.join(packages, platform), folder, { recursive: true });
  copyFileSync(addon, path.join(folder, path.basename(addon)));
  await addLicences(folder, manifest().napi.targets.find((target) => platformOf(target) === platform));
  return folder;
}

/** Adds the licences, and the notices of the crates that are linked into the addon. @param {string} folder @param {string} target */
async function addLicences(folder, target) {
  for (const name of LICENCES) copyFileSync(path.join(root, name), path.join(folder, name));
  if (existsSync(path.join(folder, NOTICES))) return;
  if (!onPath('cargo-about')) return say(`packed without ${NOTICES}, which you need to redistribute the addon: install cargo-about`);
  await run(['cargo', 'about', '--offline', 'generate', '--locked', '--fail', '--target', target, '-o', path.join(folder, NOTICES), 'about.hbs'], { quiet: true });
}

/** Completes the folders that `napi prepublish` publishes, and rejects if a file that their package.json names is missing. */
async function prepareRelease() {
  if (!onPath('cargo-about')) throw new UserError('cargo-about is missing. Type: cargo install --locked cargo-about --features cli');
  for (const target of manifest().napi.targets) {
    const folder = path.join(packages, platformOf(target));
    rmSync(path.join(folder, NOTICES), { force: true });
    await addLicences(folder, target);
    const { files } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const missing = [...LICENCES, NOTICES].filter((name) => !files.includes(name) || !(statSync(path.join(folder, name)).size > 0));
    if (missing.length > 0) throw new UserError(`npm/${platformOf(target)} would be published without ${missing.join(', ')}`);
  }
}

/** Rejects if npm/ is not what napi generates from package.json, with the licences and notices added. */
export async function checkPlatformPackages() {
  const folder = path.join(root, 'target/npm');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await run([path.join(root, 'node_modules/.bin/napi'), 'create-npm-dirs', '--npm-dir', path.relative(root, folder)], { quiet: true });
  for (const platform of readdirSync(folder)) {
    const [expected, found] = [folder, packages].map((each) => JSON.parse(readFileSync(path.join(each, platform, 'package.json'), 'utf8')));
    expected.files.push(NOTICES, ...LICENCES);
    if (JSON.stringify(expected) !== JSON.stringify(found)) throw new UserError(`npm/${platform}/package.json should be\n${JSON.stringify(expected, null, 2)}`);
  }
}

await main(import.meta.url, async (args) => {
  const { values } = parseArgs({ args, options: { target: { type: 'string', multiple: true, default: [] }, release: { type: 'boolean' } } });
  if (values.release) return prepareRelease();
  const [first, ...platforms] = await pack(values.target);
  // npm rejects a dependency for another platform, and skips an optional one.
  const commands = platforms.length > 1 ? [`npm install ${first}`, `npm install --save-optional ${platforms.join(' ')}`] : [`npm install ${first} ${platforms[0]}`];
  say(`packed: ${commands.join(' && ')}`);
});
