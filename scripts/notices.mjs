// The licence texts of the crates that are linked into the addon, read from the crates' own sources.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { root, run } from './shell.mjs';

const isLicenceFile = (name) => /^(licen[cs]e|copying|notice|unlicense)/i.test(name);
const isApacheFile = (name) => /apache/i.test(name) || /^notice/i.test(name);

/**
 * The notices for each target; the same sources give the same text.
 * @param {string[]} targets
 * @returns {Promise<Map<string, string>>}
 */
export async function notices(targets) {
  const metadata = JSON.parse(await cargo('metadata', '--format-version', '1'));
  const packages = new Map(metadata.packages.map((crate) => [`${crate.name} v${crate.version}`, crate]));
  const texts = new Map();
  for (const target of targets) {
    const crates = (await linkedCrates(target)).map((id) => packages.get(id)).filter((crate) => crate.source !== null);
    texts.set(target, document(crates));
  }
  return texts;
}

/** Without build scripts and procedural macros: they run while the addon is built, and are not in it. */
async function linkedCrates(target) {
  const tree = await cargo('tree', '--target', target, '-e', 'normal,no-proc-macro', '--prefix', 'none', '-f', '{p}');
  const ids = tree.trim().split('\n').map((line) => line.split(' ').slice(0, 2).join(' '));
  return [...new Set(ids)].toSorted();
}

function cargo(...args) {
  return run(['cargo', '--locked', ...args], { quiet: true });
}

function document(crates) {
  /** The crates by text; texts that differ only in white space are one. */
  const groups = new Map();
  for (const crate of crates) {
    for (const text of licenceTexts(crate)) {
      const key = text.replaceAll(/\s+/g, ' ').trim();
      if (!groups.has(key)) groups.set(key, { text, names: [] });
      groups.get(key).names.push(`${crate.name} ${crate.version}`);
    }
  }
  const sections = [...groups.values()].toSorted((one, other) => other.names.length - one.names.length);
  return [
    '# Third-party notices\n',
    "The addon in this package holds Rust's standard library (MIT OR Apache-2.0, copyright The Rust Project Contributors)",
    'and the crates below. A crate that may be taken under Apache-2.0 is taken so.\n',
    '| Crate | Version | Licence | Source |',
    '|---|---|---|---|',
    ...crates.map((crate) => `| ${crate.name} | ${crate.version} | ${crate.license} | ${crate.repository ?? ''} |`),
    ...sections.map(({ text, names }) => `\n## ${names.join(', ')}\n\n${fenced(text)}`),
    '',
  ].join('\n');
}

function licenceTexts(crate) {
  const folder = path.dirname(crate.manifest_path);
  const entries = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  const files = entries.map(({ name }) => name).filter(isLicenceFile).toSorted();
  const read = (name) => withoutAppendix(readFileSync(path.join(folder, name), 'utf8').replaceAll('\r\n', '\n'));
  const choices = /\bAND\b/.test(crate.license) ? [] : crate.license.split(/\s+OR\s+|\//);
  const apache = choices.includes('Apache-2.0') ? files.filter(isApacheFile) : [];
  const chosen = apache.length > 0 ? apache : files;
  if (chosen.length > 0) return chosen.map(read);
  return [standardText(crate, choices)];
}

/** For a crate that ships no licence text: the standard one of the licence that its manifest names. */
function standardText({ name, authors }, choices) {
  const ours = (file) => readFileSync(path.join(root, file), 'utf8');
  if (choices.includes('Apache-2.0')) return withoutAppendix(ours('LICENSE-APACHE'));
  if (choices.includes('MIT')) {
    const holders = authors.length > 0 ? authors.join(', ') : `the authors of ${name}`;
    return ours('LICENSE-MIT').replace(/^Copyright .*$/m, `Copyright (c) ${holders}`);
  }
  throw new Error(`${name} ships no licence text, and there is no standard one here for ${choices.join(' OR ')}`);
}

/** What follows the Apache licence's terms tells how to apply it, and differs from crate to crate. */
function withoutAppendix(text) {
  return text.replace(/(END OF TERMS AND CONDITIONS)[\s\S]*APPENDIX: How to apply[\s\S]*/, '$1\n');
}

function fenced(text) {
  return `\`\`\`text\n${text.replaceAll(/[ \t]+$/gm, '').replace(/^\n+/, '').trimEnd()}\n\`\`\``;
}
