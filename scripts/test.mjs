// npm test, test:livekit, test:matrix, test:fast and lint: the steps of a suite. A failing step does not stop the rest; the last line sums up.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { build, cargoEnv, profile } from './build.mjs';
import { checkFacts } from './docs.mjs';
import { lint } from './lint.mjs';
import { checkPlatformPackages } from './pack.mjs';
import { ensureAddon, ensureCargoDeny, ensureNodeModules, ensurePrograms } from './setup.mjs';
import { UserError, main, onPath, report, root, run, say } from './shell.mjs';
import { conformance } from '../test-support/conformance.mjs';
import { ensureTarballs, prepareExamples } from '../test-support/examples.mjs';
import { ensureServers } from '../test-support/go.mjs';
import { jest } from '../test-support/jest.mjs';
import { NEWER_NODE, ensureNode, environmentOf } from '../test-support/newer-node.mjs';

/** @typedef {import('../test-support/jest.mjs').Count} Count */
/** @typedef {(text: string) => void} Print Takes a step's output. */

const SUMMARY_LENGTH = 1_500;
const bin = (name) => path.join(root, 'node_modules/.bin', name);
const cargo = async (args, print, env = {}) => run(['cargo', ...args], { print, env: { ...(await cargoEnv()), ...env } });
const project = (name, ...options) => (print) => jest(['--selectProjects', name, ...options], { print });
const FIREFOX = ['--testNamePattern', '[Ff]irefox'];
const NO_FIREFOX = ['--testNamePattern', '^(?!.*[Ff]irefox)'];

/** Each resolves with what it counted, or with nothing, which counts as one that passed. @type {Record<string, (print: Print) => Promise<Count | unknown>>} */
const steps = {
  rustfmt: (print) => run(['cargo', 'fmt', '--all', '--check'], { print }),
  oxlint: (print) => run([bin('oxlint'), '--deny-warnings'], { print }),
  vocabulary: lint,
  docs: checkFacts,
  types: (print) => run([process.execPath, '__test__/types/check.mjs'], { print }),
  'cargo deny': async (print) => run([await ensureCargoDeny(), '--locked', 'check', 'bans', 'licenses', 'sources'], { print }),
  addon: () => ensureAddon(),
  'generated files': checkGenerated,
  clippy: compileTests,
  'cargo clippy': (print) => cargo(['clippy', '--locked', '--workspace', '--all-targets', '--profile', profile, '--', '-D', 'warnings'], print),
  'cargo test': (print) => checkedCargoTest(['--skip', 'livekit_server'], print),
  'cargo test, livekit-server': (print) => cargoTest([...CHECKED, '--workspace', '--lib', '--', 'livekit_server'], print),
  // Compiled as shipped, because it measures time.
  'isolation test': (print) => cargoTest(ISOLATION, print),
  'cargo unit tests': (print) => cargoTest(['--workspace', '--lib', '--', '--skip', 'livekit_server'], print),
  'push to talk': (print) => cargoTest(['--workspace', '--test', 'forwarding', '--', '--ignored', 'push_to_talk'], print),
  'Debian packages': () => ensurePrograms(['chromium-headless-shell', 'openssl']),
  'more Debian packages': () => ensurePrograms(['redis-server', 'faketime', 'openssl', 'chromium-headless-shell', 'ip', 'unshare']),
  Firefox: () => ensurePrograms(['chromium-headless-shell', 'firefox-esr']),
  'Go servers': ensureServers,
  'example apps': prepareExamples,
  'jest, without servers': project('fast'),
  'jest, on servers': project('server'),
  examples: (print) => jest(['--selectProjects', 'examples', '--testNamePattern', 'embedded engine two visitors receive'], { env: { TEST_CHROMIUM_ONLY: '1' }, print }),
  'examples, all': project('examples'),
  'examples on a newer Node.js': examplesOnNewerNode,
  'conformance on the engine': (print) => conformance('engine', NO_FIREFOX, print),
  'conformance on livekit-server': (print) => conformance('livekit-server', NO_FIREFOX, print),
  'conformance on the engine, Firefox': (print) => conformance('engine', FIREFOX, print),
  'conformance on livekit-server, Firefox': (print) => conformance('livekit-server', FIREFOX, print),
  frameworks: project('frameworks'),
  clients: project('clients'),
  'other targets': project('targets'),
  package: checkPackage,
};

/** Stages run one after another; the lanes of a stage run side by side. The steps of a lane run one after another. @type {Record<string, string[][][]>} */
const suites = {
  test: [
    [
      ['addon', 'generated files', 'clippy', 'cargo test'],
      ['rustfmt', 'oxlint', 'vocabulary', 'docs', 'Debian packages', 'types', 'example apps'],
    ],
    [['isolation test', 'jest, without servers', 'conformance on the engine', 'examples']],
  ],
  livekit: [
    [['addon'], ['more Debian packages', 'Go servers']],
    [['cargo test, livekit-server', 'jest, on servers', 'conformance on livekit-server']],
  ],
  matrix: [
    [['addon', 'example apps'], ['Firefox', 'Go servers', 'cargo deny']],
    [['package', 'conformance on the engine, Firefox', 'conformance on livekit-server, Firefox', 'examples, all']],
  ],
  all: [[['addon', 'example apps'], ['Firefox', 'Go servers']], [['frameworks', 'examples on a newer Node.js', 'clients', 'other targets', 'push to talk']]],
  fast: [[['addon', 'cargo unit tests'], ['rustfmt', 'oxlint', 'vocabulary']], [['jest, without servers']]],
  lint: [[['rustfmt', 'oxlint', 'vocabulary', 'cargo clippy']]],
};

/** The bindings that the build generates from the Rust sources, Cargo.lock and npm/ must be as committed. */
async function checkGenerated() {
  const folder = path.join(root, 'target/bindings');
  mkdirSync(folder, { recursive: true });
  await build(undefined, folder);
  // binding.js names files of its own folder by their relative paths.
  const generated = (name) => readFileSync(path.join(folder, name), 'utf8').replaceAll(`'${path.relative(folder, root)}/`, "'./");
  const outdated = ['binding.js', 'binding.d.ts'].filter((name) => readFileSync(path.join(root, name), 'utf8') !== generated(name));
  if (outdated.length > 0) throw new UserError(`outdated: ${outdated.join(', ')}. Type: npm run build`);
  await checkPlatformPackages();
}

/** With overflow checks and debug assertions. */
const CHECKED = ['--config', 'engine/checked.toml'];
const ISOLATION = ['--workspace', '--test', 'isolation'];

/** The Rust tests that run with the checks. */
function checkedTests() {
  const names = readdirSync(path.join(root, 'engine/tests')).map((file) => path.parse(file).name);
  return [...CHECKED, '--workspace', '--lib', ...names.flatMap((name) => (['isolation', 'offers', 'support'].includes(name) ? [] : ['--test', name]))];
}

/** Compiles all Rust tests, and rejects if rustc or clippy has a warning. Cargo repeats the warnings of crates that are compiled already. */
async function compileTests(print) {
  if (!onPath('clippy-driver')) throw new UserError('Clippy is missing. Type: rustup component add clippy');
  let log = '';
  for (const targets of [['test', '--no-run', ...checkedTests()], ['test', '--no-run', ...ISOLATION], ['build', '--workspace']]) {
    await cargo([...targets, '--locked', '--profile', profile], (text) => print((log += text) && text));
  }
  if (/^warning: `.+` \(.+\) generated \d+ warning/m.test(log)) throw new UserError('rustc or clippy has warnings');
}

function checkedCargoTest(options, print) {
  // With this variable, one of the engine's tests fails if the checks are off.
  return cargoTest([...checkedTests(), '--', ...options], print, { REQUIRE_CHECKED_TESTS: '1' });
}

/** @returns {Promise<Count>} */
async function cargoTest(options, print, env) {
  const result = await cargo(['test', '--locked', '--no-fail-fast', '--profile', profile, ...options], print, env).then((output) => ({ output }), (error) => error);
  const { output = '' } = result;
  const sum = (pattern) => [...output.matchAll(pattern)].reduce((total, [, count]) => total + Number(count), 0);
  const [passed, failed] = [sum(/^test result: .*? (\d+) passed;/gm), sum(/^test result: .*? (\d+) failed;/gm)];
  if (failed === 0 && (result instanceof Error || passed === 0)) throw result instanceof Error ? result : new UserError('ran no test');
  return { passed, failed, failures: output.match(/^---- .+ stdout ----\n\n.+\n.*/gm) ?? [] };
}

/** All tests of the example apps on the frameworks' current majors, whatever Node.js runs this. */
async function examplesOnNewerNode(print) {
  const env = environmentOf(await ensureNode(NEWER_NODE));
  return jest(['--selectProjects', 'examples', '--testPathIgnorePatterns', 'newer-node'], { env, print });
}

/** Checks the tarballs, installs them into an empty app and uses them there. */
async function checkPackage(print) {
  const tarballs = await ensureTarballs();
  await run([bin('publint'), 'run', tarballs[0], '--strict'], { print });
  await run([bin('attw'), tarballs[0], '--no-emoji', '--no-definitely-typed'], { print });
  const cwd = mkdtempSync(path.join(os.tmpdir(), 'app-'));
  try {
    await run(['npm', 'install', '--prefix', cwd, '--offline', '--no-audit', '--no-fund', ...tarballs], { quiet: true, print });
    const { name, version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const printed = await run([path.join(cwd, 'node_modules/.bin/maravilla-media'), '--version'], { quiet: true, cwd });
    if (printed.trim() !== version) throw new Error(`the installed command says version ${printed}`);
    const code = `require('${name}').createPlatform({ provider: 'embedded' }).media.createRoom('r').then(({ name }) => console.log(name));`;
    const created = await run([process.execPath, '-e', code], { quiet: true, cwd });
    if (created.trim() !== 'r') throw new Error(`the installed engine created the room ${created}`);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** Prints a step's output when the step has ended, so that steps side by side do not mix. @param {string} name @returns {Promise<Required<Count> & { name: string }>} */
async function runStep(name) {
  const began = Date.now();
  let log = '';
  const print = (text) => (log += text);
  say(`${name} …`);
  const count = await steps[name](print).then(
    (result) => ({ passed: 1, failed: 0, ...(Number.isInteger(result?.failed) && result) }),
    (error) => {
      report(error, print);
      return { passed: 0, failed: 1 };
    },
  );
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`\n=== ${name}\n${log.trimEnd()}\n-- ${name}: ${count.failed > 0 ? 'FAILED' : 'passed'}, ${seconds} s`);
  return { failures: [], ...count, name };
}

async function runLane(names) {
  const counts = [];
  for (const name of names) counts.push(await runStep(name));
  return counts;
}

/** musl and QEMU come from Debian's archive. */
function canRunTargets() {
  return process.arch === 'x64' && existsSync('/etc/os-release') && /^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'));
}

await main(import.meta.url, async ([suite = 'test', option]) => {
  const name = option === '--all' ? 'all' : suite;
  if (!Object.hasOwn(suites, name)) throw new UserError(`There is no suite "${name}". There are: ${Object.keys(suites).join(', ')}.`);
  await ensureNodeModules();
  const counts = [];
  for (const stage of suites[name]) {
    const lanes = stage.map((lane) => lane.filter((name) => name !== 'other targets' || canRunTargets()));
    counts.push(...(await Promise.all(lanes.map(runLane))).flat());
  }
  for (const failure of counts.flatMap(({ failures }) => failures)) console.log(`\n${failure.slice(0, SUMMARY_LENGTH)}`);
  const failed = counts.filter((count) => count.failed > 0);
  if (failed.length > 0) console.log(`\nfailed: ${failed.map(({ name }) => name).join(', ')}`);
  const sum = (key) => counts.reduce((total, count) => total + count[key], 0);
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`);
  process.exitCode = failed.length > 0 ? 1 : 0;
});
