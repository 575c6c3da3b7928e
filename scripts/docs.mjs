// Checks the documentation: its code compiles; its commands, links, options and error codes exist.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cache, root } from './shell.mjs';

const pages = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
const documents = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'examples/README.md', ...pages.map((name) => `docs/${name}`)];
const folder = path.join(cache, 'types/docs');
const NPM_COMMANDS = new Set(['ci', 'install']);
const read = (file) => readFileSync(path.join(root, file), 'utf8');

/** The fenced blocks of a document: language, code, and first line. */
function* blocksOf(file) {
  for (const block of read(file).matchAll(/^( *)```(\w+)\n(.*?)\n\1```$/gms)) {
    const [, indent, language, code] = block;
    yield { language, code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''), line: read(file).slice(0, block.index).split('\n').length };
  }
}

/**
 * Writes the TypeScript and JavaScript blocks to files, for the project in __test__/types/docs. A block whose first line is a path is written to that path,
 * so that its relative imports resolve.
 */
export function layOutCode() {
  rmSync(folder, { recursive: true, force: true });
  let count = 0;
  for (const file of documents) {
    for (const { language, code, line } of blocksOf(file)) {
      if (!['ts', 'js'].includes(language)) continue;
      const named = /^\/\/ (\S+\.[jt]s)\n/.exec(code)?.[1] ?? `${file}.line-${line}.${language}`;
      const target = path.join(folder, named);
      if (existsSync(target)) throw new Error(`${file}:${line}: two blocks are named ${named}`);
      mkdirSync(path.dirname(target), { recursive: true });
      // Code that neither imports nor exports is a script, and shares its names with all others.
      writeFileSync(target, `${code}\nexport {};\n`);
      count += 1;
    }
  }
  if (count === 0) throw new Error('no code was found in the documents');
}

/** Rejects with every wrong command, link and table row of the documents. */
export async function checkFacts() {
  const faults = [...allFaults()];
  if (faults.length > 0) throw new Error(faults.join('\n'));
}

function* allFaults() {
  for (const file of documents) {
    yield* commandFaults(file);
    yield* linkFaults(file);
  }
  yield* tableFaults();
}

function* commandFaults(file) {
  const { name, version, scripts } = JSON.parse(read('package.json'));
  const tarball = name.replace('@', '').replace('/', '-');
  for (const { language, code, line } of blocksOf(file)) {
    if (language !== 'sh') continue;
    for (const [, script, other] of code.matchAll(/\bnpm (?:run (\S+)|(\S+))/g)) {
      if (!NPM_COMMANDS.has(other) && !Object.hasOwn(scripts, script ?? other)) yield `${file}:${line}: there is no npm ${script ?? other}`;
    }
    for (const [packed] of code.matchAll(/[\w.-]+\.tgz/g)) {
      if (!packed.startsWith(tarball) || !packed.endsWith(`-${version}.tgz`)) yield `${file}:${line}: npm run pack does not make ${packed}`;
    }
  }
  // Commands in running text.
  for (const [, script] of read(file).matchAll(/`npm (?:run )?([\w:]+)`/g)) {
    if (!NPM_COMMANDS.has(script) && !Object.hasOwn(scripts, script)) yield `${file}: there is no npm ${script}`;
  }
}

function* linkFaults(file) {
  for (const [, link] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(link)) continue;
    const [name, anchor] = link.split('#');
    const target = name ? path.join(path.dirname(file), name) : file;
    const found = existsSync(path.join(root, target)) && (anchor === undefined || anchorsOf(target).includes(anchor));
    if (!found) yield `${file}: nothing is at ${link}`;
  }
}

/** The anchors that GitHub gives to a document's headings. */
function anchorsOf(file) {
  return [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, title]) => title.toLowerCase().replaceAll(/[^\w\- ]/g, '').replaceAll(' ', '-'));
}

/** README's tables list every option and every error code of index.d.ts, and no others. */
function* tableFaults() {
  const declarations = read('index.d.ts');
  const readme = read('README.md');
  const section = (title) => readme.slice(readme.indexOf(`\n## ${title}\n`) + 1).split('\n## ')[0];
  const rows = (title) => section(title).split('\n').filter((line) => line.startsWith('| ')).map((line) => line.split('|').slice(1, -1));
  const names = (cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name);

  const options = /interface PlatformOptions \{(.*?)\n\}/s.exec(declarations)[1];
  const declaredOptions = [...options.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
  yield* differences('option', declaredOptions, rows('Configuration').flatMap(([, option]) => names(option)));
  const declaredVariables = [...options.matchAll(/`((?:LIVEKIT|MARAVILLA)_\w+)`/g)].map(([, name]) => name);
  yield* differences('variable', declaredVariables, rows('Configuration').flatMap(([variable]) => names(variable)));
  const inSvelteKit = read('examples/sveltekit/src/env.ts');
  for (const name of declaredVariables) if (!inSvelteKit.includes(`  ${name}:`)) yield `examples/sveltekit/src/env.ts: ${name} is missing`;

  const codes = /type MediaErrorCode =(.*?);/s.exec(declarations)[1];
  const declaredCodes = [...codes.matchAll(/'(\w+)'/g)].map(([, code]) => code);
  yield* differences('error code', declaredCodes, rows('Errors').slice(1).flatMap(([code]) => names(code)));
}

function* differences(kind, declared, documented) {
  for (const name of declared) if (!documented.includes(name)) yield `README.md: the ${kind} ${name} of index.d.ts is missing`;
  for (const name of documented) if (!declared.includes(name)) yield `README.md: index.d.ts has no ${kind} ${name}`;
}
