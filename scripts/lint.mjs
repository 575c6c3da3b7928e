// Vocabulary that reviews keep finding: it fails the lint step, so that it does not come back.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { UserError, root, run } from './shell.mjs';

const SOURCES = ['*.rs', '*.js', '*.mjs', '*.ts', '*.mts', '*.tsx', '*.svelte'];
/** Generated files, and this one. */
const EXCLUDED = new Set(['binding.js', 'binding.d.ts', 'scripts/lint.mjs']);
/** Patterns of a line, and what to write instead. @type {[RegExp, string][]} */
const PATTERNS = [
  [/\b(?:MOST|LEAST)_[A-Z]/, 'MAX_ or MIN_ for a limit'],
  [/(?:^|\s)(?:\/\/[/!]?|\/?\*{1,2})\s*(?:Who|Whoever|What|That which|Those who)\b/, 'a comment that begins with the thing it is about'],
];
const SUBJECT = /^(?:feat|fix|refactor|perf|test|docs|build|ci|chore|style|revert)(?:\([a-z0-9,./-]+\))?: [a-z`]/;
const MAX_SUBJECT = 72;

/** Rejects with the place of each relapse, in the tree and in the commits that the main branch does not have. */
export async function lint() {
  const faults = [...(await sourceFaults()), ...(await commitFaults())];
  if (faults.length > 0) throw new UserError(faults.join('\n'));
}

async function sourceFaults() {
  const files = (await run(['git', 'ls-files', '--', ...SOURCES], { quiet: true })).split('\n').filter((file) => file && existsSync(path.join(root, file)));
  return files.filter((file) => !EXCLUDED.has(file)).flatMap((file) =>
    readFileSync(path.join(root, file), 'utf8').split('\n').flatMap((line, index) =>
      PATTERNS.filter(([pattern]) => pattern.test(line)).map(([, remedy]) => `${file}:${index + 1}: ${line.trim()}\n  write ${remedy}`)));
}

/** A clone without a main branch, such as a shallow one of a tag, has no commits to check. */
async function commitFaults() {
  const git = (...args) => run(['git', ...args], { quiet: true, print: () => {} }).then((output) => output.trim(), () => '');
  const [head, ...bases] = await Promise.all([git('rev-parse', 'HEAD'), git('merge-base', 'HEAD', 'origin/main'), git('merge-base', 'HEAD', 'main')]);
  const base = bases.find((each) => each && each !== head);
  if (!base) return [];
  const subjects = (await git('log', '--no-merges', '--format=%h %s', `${base}..HEAD`)).split('\n').filter(Boolean);
  return subjects.flatMap((line) => {
    const subject = line.slice(line.indexOf(' ') + 1);
    if (subject.length > MAX_SUBJECT) return [`${line}\n  write a subject of at most ${MAX_SUBJECT} characters`];
    return SUBJECT.test(subject) ? [] : [`${line}\n  write type(scope): imperative`];
  });
}
