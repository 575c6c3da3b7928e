// npm run build: the addon beside index.js, and binding.js and binding.d.ts from the Rust sources. `-- --target TRIPLE` builds the addon of another
// target, in target/addons/.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { cargoEnv, crossBuild, host, platformOf, profile } from './cargo.mjs';
import { isMain, report, root, run } from './shell.mjs';

/** Where the addon of a target is built. The folder of index.js has only this machine's, because that one is loaded there. @param {string} [target] */
export function addonOf(target = host()) {
  const platform = platformOf(target);
  const folder = target === host() ? root : path.join(root, 'target/addons', platform);
  return path.join(folder, `platform.${platform}.node`);
}

/** @param {string} [target] */
export async function build(target = host()) {
  const { env, options } = target === host() ? { env: await cargoEnv(), options: [] } : await crossBuild(target);
  const napi = path.join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  const command = [process.execPath, napi, 'build', '--profile', profile, '--platform', '--output-dir', path.dirname(addonOf(target))];
  await run([...command, '--js', 'binding.js', '--dts', 'binding.d.ts', '--no-const-enum', ...options], { env });
}

if (isMain(import.meta.url)) {
  try {
    const { values } = parseArgs({ options: { target: { type: 'string' } } });
    await build(values.target);
  } catch (error) {
    process.exitCode = report(error);
  }
}
