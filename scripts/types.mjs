// The types, compiled as their readers compile them, and the code in the documents. One line a run.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { checkFacts, layOutCode } from './docs.mjs';
import { cache, root } from './shell.mjs';

// The oldest version with `AsyncDisposable`, as README and index.d.ts say, and the newest one of each major version.
const versions = ['typescript-5.2', 'typescript-5.9', 'typescript', 'typescript-7'];
const types = path.join(root, '__test__/types');
const work = path.join(cache, 'types');

// Every value of each dimension occurs with both kinds of library and both kinds of types: pairs, not the whole product.
const node16 = { module: 'node16', moduleResolution: 'node16' };
const nodenext = { module: 'nodenext', moduleResolution: 'nodenext' };
const bundler = { module: 'esnext', moduleResolution: 'bundler' };
const preserve = { module: 'preserve', moduleResolution: 'bundler' };
const consumers = [
  { ...node16, lib: ['es2022'], types: [] },
  { ...node16, lib: ['esnext', 'dom'], types: ['node'] },
  { ...nodenext, lib: ['es2022'], types: ['node'] },
  { ...nodenext, lib: ['esnext', 'dom'], types: [], verbatimModuleSyntax: true },
  { ...bundler, lib: ['es2022', 'dom'], types: [] },
  { ...preserve, lib: ['esnext'], types: ['node'] },
];

/** The files that such a consumer can have: `import = require` needs CommonJS, signals need someone who declares them. */
function filesFor({ module, lib, types }) {
  const files = ['surface.mts'];
  if (module !== 'esnext') files.push('surface.cts');
  if (lib.includes('dom') || types.includes('node')) files.push('signal.mts');
  if (types.includes('node')) files.push('environment.mts');
  return files;
}

function* typeRuns() {
  for (const version of versions) {
    for (const options of consumers) {
      const { module, moduleResolution, lib, types } = options;
      // `module: preserve` needs TypeScript 5.4.
      if (version === 'typescript-5.2' && module === 'preserve') continue;
      const resolution = module === moduleResolution ? module : `${moduleResolution} ${module}`;
      const name = [resolution, ...lib, ...types.map((name) => `@types/${name}`)].join(', ');
      yield compile(version, name, options, filesFor(options));
    }
    yield compile(version, 'an augmented Platform', consumers[0], ['augment.mts']);
    yield compile(version, "the platform documentation's route and gate", undefined, undefined, path.join(types, 'page'));
  }
  for (const version of ['typescript', 'typescript-7']) {
    yield compile(version, 'the code in the documents', undefined, undefined, path.join(types, 'docs'));
  }
  yield compile('typescript', 'the facade and the error codes', undefined, undefined, path.join(types, 'facade'));
}

/** A run of tsc: over a project, or over `files` with `options` put over those that all runs share. */
function compile(version, name, options, files, project) {
  const { version: number } = JSON.parse(readFileSync(path.join(root, 'node_modules', version, 'package.json'), 'utf8'));
  const title = `typescript ${number}: ${name}`;
  if (files) {
    project = path.join(work, `${title.replaceAll(/[^a-z0-9.]+/g, '-')}.json`);
    writeFileSync(
      project,
      JSON.stringify({
        extends: path.join(types, 'tsconfig.json'),
        compilerOptions: options,
        files: files.map((file) => path.join(types, file)),
      }),
    );
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

/** What index.d.ts declares is what index.js exports, through `require` and `import` alike. */
async function exportsMatch() {
  const declared = [...readFileSync(path.join(root, 'index.d.ts'), 'utf8').matchAll(/^export declare (?:function|class|const) (\w+)/gm)];
  const names = declared.map(([, name]) => name).sort().join();
  const required = Object.keys(createRequire(import.meta.url)('../index.js')).sort().join();
  const imported = Object.keys(await import('../index.js')).filter((name) => !['default', 'module.exports'].includes(name)).sort().join();
  if (names !== required || names !== imported) throw new Error(`declared ${names}\nrequired ${required}\nimported ${imported}`);
}

mkdirSync(work, { recursive: true });
layOutCode();
const waiting = [
  { title: 'index.js exports what index.d.ts declares', start: exportsMatch },
  { title: "the documents' commands, links and tables", start: checkFacts },
  ...typeRuns(),
];
let passed = 0;
let failed = 0;

async function drain() {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const begun = Date.now();
    let failure;
    try {
      await next.start();
      passed += 1;
    } catch (error) {
      failed += 1;
      failure = error;
    }
    const seconds = ((Date.now() - begun) / 1000).toFixed(1).padStart(5);
    console.log(`${failure ? 'FAILED' : 'passed'} ${seconds} s  ${next.title}`);
    if (failure) console.error(failure.message.trimEnd());
  }
}

await Promise.all(Array.from({ length: Math.min(4, os.availableParallelism()) }, drain));
console.log(`types: ${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
