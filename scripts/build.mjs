// npm run build: the addon beside index.js, and binding.js and binding.d.ts from the Rust sources.
import path from 'node:path';
import { cargoEnv, profile } from './cargo.mjs';
import { isMain, report, root, run } from './shell.mjs';

/** @param {string[]} [more] Further options of `napi build`, such as a target. */
export async function build(more = []) {
  const napi = path.join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  const options = ['--platform', '--js', 'binding.js', '--dts', 'binding.d.ts', '--no-const-enum'];
  await run([process.execPath, napi, 'build', '--profile', profile, ...options, ...more], { env: await cargoEnv() });
}

if (isMain(import.meta.url)) {
  try {
    await build(process.argv.slice(2));
  } catch (error) {
    process.exitCode = report(error);
  }
}
