// npm run generate: npm/<platform>/, one package per target, each with the notices of what is linked into its addon.
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { platformOf } from './cargo.mjs';
import { notices } from './notices.mjs';
import { ensureNodeModules } from './setup.mjs';
import { isMain, report, root, run } from './shell.mjs';

const NOTICES = 'THIRD-PARTY-NOTICES.md';
const licences = ['LICENSE-MIT', 'LICENSE-APACHE'];
const packages = path.join(root, 'npm');

/** What is committed and never edited: paths in the root folder. */
export function generatedFiles() {
  const files = ['binding.js', 'binding.d.ts', 'Cargo.lock'];
  for (const folder of existsSync(packages) ? readdirSync(packages) : []) {
    files.push(...['package.json', 'README.md', NOTICES].map((name) => `npm/${folder}/${name}`));
  }
  return files.filter((file) => existsSync(path.join(root, file)));
}

export async function generate() {
  await ensureNodeModules();
  await run([path.join(root, 'node_modules/.bin/napi'), 'create-npm-dirs'], { quiet: true });
  const { napi } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const texts = await notices(napi.targets);
  for (const folder of readdirSync(packages)) {
    const file = path.join(packages, folder, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    manifest.files.push(NOTICES, ...licences);
    writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
    for (const name of licences) copyFileSync(path.join(root, name), path.join(packages, folder, name));
  }
  for (const [target, text] of texts) writeFileSync(path.join(packages, platformOf(target), NOTICES), text);
}

if (isMain(import.meta.url)) {
  try {
    await generate();
  } catch (error) {
    process.exitCode = report(error);
  }
}
