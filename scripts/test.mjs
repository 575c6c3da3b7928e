// npm test: every check, one after another; a failing one does not stop the rest. The last line sums up.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { build } from './build.mjs';
import { cargoEnv, profile } from './cargo.mjs';
import { conformance } from './conformance.mjs';
import { generate, generatedFiles } from './generate.mjs';
import { jest, ranSome } from './jest.mjs';
import { NEWER_NODE, ensureNode, environmentOf } from '../test-support/newer-node.mjs';
import { pack } from './pack.mjs';
import { ensureAddon, ensureCargoDeny, ensureNodeModules, ensurePrograms, ensureServers } from './setup.mjs';
import { report, root, run, say } from './shell.mjs';

const STORY_LENGTH = 1_500;
const bin = (name) => path.join(root, 'node_modules/.bin', name);
const cargo = async (args, env = {}) => run(['cargo', ...args], { env: { ...(await cargoEnv()), ...env } });
const snapshot = () => new Map(generatedFiles().map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));

/** The checks by name. Each resolves with what it counted, or with nothing, which counts as one that passed. */
const steps = {
  'npm packages': ensureNodeModules,
  rustfmt: () => run(['cargo', 'fmt', '--all', '--check']),
  oxlint: () => run([bin('oxlint'), '--deny-warnings']),
  types: () => run([process.execPath, 'scripts/types.mjs']),
  'cargo deny': async () => run([await ensureCargoDeny(), '--locked', 'check', 'bans', 'licenses', 'sources']),
  'generated files': generatedFilesUnchanged,
  addon: ensureAddon,
  clippy: () => cargo(['clippy', '--locked', '--workspace', '--all-targets', '--profile', profile, '--', '-D', 'warnings']),
  programs: async () => {
    await ensurePrograms();
    await ensureServers();
  },
  'cargo test': checkedCargoTest,
  // Runs without the checks, because it measures the time that the shipped code takes.
  'isolation test': () => cargoTest(['--workspace', '--test', 'isolation']),
  'cargo unit tests': () => cargoTest(['--workspace', '--lib', '--', '--skip', 'behaviour']),
  jest: () => jest(),
  'jest, without servers': () => jest(['--selectProjects', 'fast']),
  examples: () => jest(['--selectProjects', 'examples']),
  'examples on a newer Node.js': examplesOnNewerNode,
  frameworks: () => jest(['--selectProjects', 'frameworks']),
  clients: () => jest(['--selectProjects', 'clients']),
  'other targets': () => jest(['--selectProjects', 'targets']),
  'push to talk': () => cargoTest(['--workspace', '--test', 'forwarding', '--', '--ignored']),
  conformance,
  package: checkPackage,
};

const matrix = ['frameworks', 'examples on a newer Node.js', 'clients', 'other targets', 'push to talk'];
const partial = new Set(['addon', 'cargo unit tests', 'jest, without servers', ...matrix]);
const all = Object.keys(steps).filter((name) => !partial.has(name));
const chosen = {
  '--fast': ['npm packages', 'rustfmt', 'oxlint', 'addon', 'clippy', 'cargo unit tests', 'jest, without servers'],
  '--matrix': ['npm packages', 'addon', ...matrix],
  '--lint': ['npm packages', 'rustfmt', 'oxlint', 'clippy'],
}[process.argv[2]];

/** musl and QEMU come from Debian's archive. */
function canRunTargets() {
  const isDebian = existsSync('/etc/os-release') && /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'));
  if (isDebian && process.arch === 'x64') return true;
  say('not tested here: the addons of other targets, which need Debian on x64');
  return false;
}

/** Makes the addon and every other generated file anew: they must come out as they are. */
async function generatedFilesUnchanged() {
  const before = snapshot();
  await build();
  await generate();
  const after = snapshot();
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter((file) => before.get(file) !== after.get(file));
  if (changed.length > 0) throw new Error(`these files were not up to date, and are now: ${changed.join(', ')}`);
}

/** The Rust tests with overflow checks and debug assertions. */
function checkedCargoTest() {
  const names = readdirSync(path.join(root, 'engine/tests')).map((file) => path.parse(file).name);
  const suites = names.flatMap((name) => (['isolation', 'offers', 'support'].includes(name) ? [] : ['--test', name]));
  // With this variable, one of the engine's tests fails if the checks are off.
  return cargoTest(['--config', 'engine/checked.toml', '--workspace', '--lib', ...suites], { REQUIRE_CHECKED_TESTS: '1' });
}

async function cargoTest(options, env) {
  let output;
  let failure;
  try {
    output = await cargo(['test', '--locked', '--no-fail-fast', '--profile', profile, ...options], env);
  } catch (error) {
    ({ output = '' } = error);
    failure = error;
  }
  const count = { passed: 0, failed: 0, stories: [] };
  for (const [, passed, failed] of output.matchAll(/^test result: .*? (\d+) passed; (\d+) failed;/gm)) {
    count.passed += Number(passed);
    count.failed += Number(failed);
  }
  count.stories = output.match(/^---- .+ stdout ----\n\n.+\n.*/gm) ?? [];
  return ranSome(count, failure);
}

/** All tests of the example apps on the frameworks' current majors, whatever Node.js runs this. */
async function examplesOnNewerNode() {
  const node = await ensureNode(NEWER_NODE);
  return jest(['--selectProjects', 'examples', '--testPathIgnorePatterns', 'newer-node'], environmentOf(node));
}

async function checkPackage() {
  const tarballs = await pack();
  await run([bin('publint'), 'run', tarballs[0], '--strict']);
  await run([bin('attw'), tarballs[0], '--no-emoji', '--no-definitely-typed']);
  await checkInstalled(tarballs);
}

/** Installs the tarballs into an empty app and uses them there, as a user does. */
async function checkInstalled(tarballs) {
  const app = mkdtempSync(path.join(os.tmpdir(), 'app-'));
  try {
    await run(['npm', 'install', '--prefix', app, '--offline', '--no-audit', '--no-fund', ...tarballs], { quiet: true });
    const { name, version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const printed = await run([path.join(app, 'node_modules/.bin/maravilla-media'), '--version'], { quiet: true, cwd: app });
    if (printed.trim() !== version) throw new Error(`the installed command says version ${printed}`);
    const code = `const platform = require('${name}').createPlatform({ provider: 'embedded' });
      platform.media.createRoom('r').then(({ name }) => console.log(name));`;
    const made = await run([process.execPath, '-e', code], { quiet: true, cwd: app });
    if (made.trim() !== 'r') throw new Error(`the installed engine made the room ${made}`);
  } finally {
    rmSync(app, { recursive: true, force: true });
  }
}

const total = { passed: 0, failed: 0 };
const failures = [];
const stories = [];
const order = (chosen ?? all).filter((name) => name !== 'other targets' || canRunTargets());
// Begun before its turn, beside the checks that only compile: half of the time it waits for the network.
const programs = order.includes('programs') ? steps.programs() : undefined;
// In its turn it is told.
programs?.catch(() => {});
for (const name of order) {
  console.log(`\n=== ${name}`);
  const begun = Date.now();
  let count;
  try {
    const result = await (name === 'programs' ? programs : steps[name]());
    count = typeof result === 'object' ? result : { passed: 1, failed: 0 };
  } catch (error) {
    report(error);
    count = { passed: 0, failed: 1 };
  }
  total.passed += count.passed;
  total.failed += count.failed;
  stories.push(...(count.stories ?? []));
  if (count.failed > 0) failures.push(name);
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  say(`${name}: ${count.failed > 0 ? 'FAILED' : 'passed'}, ${seconds} s`);
}
for (const story of stories) console.log(`\n${story.slice(0, STORY_LENGTH)}`);
if (failures.length > 0) console.log(`\nfailed: ${failures.join(', ')}`);
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
