// Runs jest projects and counts their tests.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { UserError, root, run } from '../scripts/shell.mjs';

/** @typedef {{ passed: number, failed: number, failures?: string[] }} Count `failures`: title and first message of each failed test. */

/** Maximum failures of one file that are repeated at the end. */
const MAX_FAILURES = 5;

/**
 * Runs jest with these options. A test that is skipped counts as failed, unless `--testNamePattern` excludes it.
 * @param {string[]} options
 * @param {{ env?: Record<string, string>, print?: (text: string) => unknown }} [how] `env` is added to this process's environment.
 * @returns {Promise<Count>}
 */
export async function jest(options, { env, print } = {}) {
  const work = mkdtempSync(path.join(os.tmpdir(), 'jest-'));
  try {
    const outputFile = path.join(work, 'results.json');
    const command = [path.join(root, 'node_modules/.bin/jest'), '--ci', '--json', `--outputFile=${outputFile}`, ...options];
    const failure = await run(command, { env, print }).then(() => undefined, (error) => error);
    if (!existsSync(outputFile)) throw failure;
    const results = JSON.parse(readFileSync(outputFile, 'utf8'));
    const skipped = options.includes('--testNamePattern') ? 0 : results.numPendingTests + results.numTodoTests;
    if (skipped > 0) print?.(`${skipped} tests were skipped\n`);
    const [passed, failed] = [results.numPassedTests, results.numFailedTests + results.numRuntimeErrorTestSuites + skipped];
    if (failed === 0 && (failure || passed === 0)) throw failure ?? new UserError('ran no test');
    return { passed, failed, failures: results.testResults.flatMap(failuresOf) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function failuresOf({ name, message, assertionResults }) {
  const file = path.relative(root, name);
  const failed = assertionResults.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return message ? [`${file}\n${message}`] : [];
  const shown = failed.slice(0, MAX_FAILURES).map(({ fullName, failureMessages }) => `${file}: ${fullName}\n${failureMessages[0]}`);
  return failed.length > MAX_FAILURES ? [...shown, `${file}: ${failed.length - MAX_FAILURES} more`] : shown;
}
