// Checks the documents: their code compiles, and their commands, links, options and error codes exist.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError, cache, root } from './shell.mjs';

const inDocs = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`);
const documents = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'examples/README.md', ...inDocs];
const folder = path.join(cache, 'types/docs');
/** Commands of npm that are not scripts. */
const NPM_COMMANDS = new Set(['ci', 'install']);
const read = (file) => readFileSync(path.join(root, file), 'utf8');

/** The fenced blocks of a document: language, code and line number. */
function blocksOf(file) {
  const text = read(file);
  return [...text.matchAll(/^( *)```(\w+)\n(.*?)\n\1```$/gms)].map(({ index, 1: indent, 2: language, 3: code }) => ({
    language,
    code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    line: text.slice(0, index).split('\n').length,
  }));
}

/**
 * Writes the TypeScript and JavaScript blocks to files, for the project in __test__/types/docs. If the first line of a block is a path in a
 * comment, the block becomes that file, so that relative imports resolve.
 */
export function extractCode() {
  rmSync(folder, { recursive: true, force: true });
  for (const file of documents) {
    for (const { language, code, line } of blocksOf(file).filter((block) => ['ts', 'js'].includes(block.language))) {
      const named = /^\/\/ (\S+\.[jt]s)\n/.exec(code)?.[1] ?? `${file}.line-${line}.${language}`;
      const target = path.join(folder, named);
      if (existsSync(target)) throw new Error(`${file}:${line}: two blocks are named ${named}`);
      mkdirSync(path.dirname(target), { recursive: true });
      // Without an import or export, a file is a script and shares its names with all others.
      writeFileSync(target, `${code}\nexport {};\n`);
    }
  }
  if (!existsSync(folder)) throw new Error('no code was found in the documents');
}

/** Rejects with everything that the documents name and that does not exist. */
export async function checkFacts() {
  const faults = [...tableFaults()];
  for (const file of documents) faults.push(...commandFaults(file), ...linkFaults(file));
  if (faults.length > 0) throw new UserError(faults.join('\n'));
}

function* commandFaults(file) {
  const { name, version, scripts } = JSON.parse(read('package.json'));
  const tarball = name.replace('@', '').replace('/', '-');
  const shell = blocksOf(file).filter(({ language }) => language === 'sh').map(({ code }) => code).join('\n');
  const commands = [...shell.matchAll(/\bnpm (?:run )?([\w:-]+)/g), ...read(file).matchAll(/`npm (?:run )?([\w:]+)`/g)];
  for (const [, script] of commands) {
    if (!NPM_COMMANDS.has(script) && !Object.hasOwn(scripts, script)) yield `${file}: there is no npm ${script}`;
  }
  for (const [packed] of shell.matchAll(/[\w.-]+\.tgz/g)) {
    if (!packed.startsWith(tarball) || !packed.endsWith(`-${version}.tgz`)) yield `${file}: npm run pack does not make ${packed}`;
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

/** README's tables name every option and every error code, and no other. */
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
