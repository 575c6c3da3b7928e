// Compiles the types as their users do, and the code in the documents. Prints one line a run.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { extractCode } from '../../scripts/docs.mjs';
import { cache, root } from '../../scripts/shell.mjs';

const types = path.join(root, '__test__/types');
const work = path.join(cache, 'types');

const node16 = { module: 'node16', moduleResolution: 'node16' };
const nodenext = { module: 'nodenext', moduleResolution: 'nodenext' };
const bundler = { module: 'esnext', moduleResolution: 'bundler' };
const preserve = { module: 'preserve', moduleResolution: 'bundler' };
/**
 * 5.2 is the oldest version with `AsyncDisposable`; the others are the newest of their major versions. Pairwise coverage: each version and each
 * module resolution occurs with and without the DOM, and with and without Node's types.
 * @type {[version: string, options: Record<string, any>][]}
 */
const consumers = [
  ['typescript-5.2', { ...node16, lib: ['es2022'], types: [] }],
  ['typescript-5.2', { ...bundler, lib: ['es2022', 'dom'], types: ['node'] }],
  ['typescript-5.9', { ...nodenext, lib: ['es2022'], types: ['node'] }],
  ['typescript-5.9', { ...preserve, lib: ['esnext', 'dom'], types: [] }],
  ['typescript', { ...node16, lib: ['esnext', 'dom'], types: ['node'] }],
  ['typescript', { ...bundler, lib: ['es2022'], types: [] }],
  ['typescript-7', { ...nodenext, lib: ['esnext', 'dom'], types: [], verbatimModuleSyntax: true }],
  ['typescript-7', { ...preserve, lib: ['esnext'], types: ['node'] }],
];

/** The files that such a consumer can have: `import = require` needs CommonJS, and AbortSignal is declared by the DOM or Node. */
function filesFor({ module, lib, types }) {
  const files = ['surface.mts'];
  if (module !== 'esnext') files.push('surface.cts');
  if (lib.includes('dom') || types.includes('node')) files.push('signal.mts');
  if (types.includes('node')) files.push('environment.mts', 'otel.mts', 'servers.mts');
  return files;
}

function* typeRuns() {
  for (const [version, options] of consumers) {
    const { module, moduleResolution, lib, types } = options;
    yield compile(version, [module, moduleResolution, ...lib, ...types.map((name) => `@types/${name}`)].join(', '), options, filesFor(options));
  }
  for (const version of ['typescript-5.2', 'typescript-7']) {
    yield compile(version, 'an augmented Platform', consumers[0][1], ['augment.mts']);
    yield compile(version, "the platform documentation's route and gate", undefined, undefined, path.join(types, 'page'));
  }
  yield compile('typescript', 'the code in the documents', undefined, undefined, path.join(types, 'docs'));
  yield compile('typescript', 'the facade and the error codes', undefined, undefined, path.join(types, 'facade'));
}

/** A run of tsc: on a project, or on `files` with `options` added to those in tsconfig.json. */
function compile(version, name, options, files, project) {
  const { version: number } = JSON.parse(readFileSync(path.join(root, 'node_modules', version, 'package.json'), 'utf8'));
  const title = `typescript ${number}: ${name}`;
  if (files) {
    project = path.join(work, `${title.replaceAll(/[^a-z0-9.]+/g, '-')}.json`);
    const config = { extends: path.join(types, 'tsconfig.json'), compilerOptions: options, files: files.map((file) => path.join(types, file)) };
    writeFileSync(project, JSON.stringify(config));
  }
  return { title, start: () => tsc(version, project) };
}

function tsc(version, project) {
  const compiler = path.join(root, 'node_modules', version, 'bin/tsc');
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [compiler, '--pretty', 'false', '-p', project], { cwd: root }, (error, stdout, stderr) => {
      if (error) reject(new Error(stdout + stderr || error.message));
      else resolve();
    });
  });
}

/** index.js exports what index.d.ts declares, for `require` and `import`. */
async function exportsMatch() {
  const declared = [...readFileSync(path.join(root, 'index.d.ts'), 'utf8').matchAll(/^export declare (?:function|class|const) (\w+)/gm)];
  const names = declared.map(([, name]) => name).sort().join();
  const required = Object.keys(createRequire(import.meta.url)('../../index.js')).sort().join();
  const imported = Object.keys(await import('../../index.js')).filter((name) => !['default', 'module.exports'].includes(name)).sort().join();
  if (names !== required || names !== imported) throw new Error(`declared ${names}\nrequired ${required}\nimported ${imported}`);
}

mkdirSync(work, { recursive: true });
extractCode();
const waiting = [{ title: 'index.js exports what index.d.ts declares', start: exportsMatch }, ...typeRuns()];
let failed = 0;

async function drain() {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const began = Date.now();
    const failure = await next.start().then(() => undefined, (error) => error);
    if (failure) failed += 1;
    console.log(`${failure ? 'FAILED' : 'passed'} ${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${next.title}`);
    if (failure) console.error(failure.message.trimEnd());
  }
}

await Promise.all(Array.from({ length: Math.min(4, os.availableParallelism()) }, drain));
process.exitCode = failed > 0 ? 1 : 0;
