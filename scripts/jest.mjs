// Runs jest and counts.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root, run } from './shell.mjs';

/** @typedef {{ passed: number, failed: number, stories?: string[] }} Count `stories`: of what failed, the title and what went wrong. */

/** A whole suite that fails for one reason tells it once. */
const MOST_STORIES = 5;

/**
 * Runs jest, all of it or what the options select.
 * @param {string[]} [options]
 * @param {Record<string, string>} [env] Put over this process's own.
 * @returns {Promise<Count>}
 */
export async function jest(options = [], env = {}) {
  const work = mkdtempSync(path.join(os.tmpdir(), 'jest-'));
  const outputFile = path.join(work, 'results.json');
  let failure;
  try {
    const command = [path.join(root, 'node_modules/.bin/jest'), '--ci', '--json', `--outputFile=${outputFile}`, ...options];
    await run(command, { env }).catch((error) => {
      failure = error;
    });
    if (!existsSync(outputFile)) throw failure;
    const results = JSON.parse(readFileSync(outputFile, 'utf8'));
    // Nothing is skipped silently: a skipped test has not passed.
    const skipped = results.numPendingTests + results.numTodoTests;
    if (skipped > 0) console.error(`${skipped} tests were skipped`);
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites + skipped;
    return ranSome({ passed: results.numPassedTests, failed, stories: storiesOf(results) }, failure);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What the end of a long output repeats. */
function storiesOf({ testResults }) {
  return testResults.flatMap(({ name, message, assertionResults }) => {
    const file = path.relative(root, name);
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    if (failed.length === 0) return message ? [`${file}\n${message}`] : [];
    const told = failed.slice(0, MOST_STORIES).map(({ fullName, failureMessages }) => `${file}: ${fullName}\n${failureMessages[0]}`);
    return failed.length > MOST_STORIES ? [...told, `${file}: ${failed.length - MOST_STORIES} more`] : told;
  });
}

/**
 * A suite that failed without a failing test, or that ran no test, counts as one failure.
 * @param {Count} count
 * @param {Error} [failure]
 * @returns {Count}
 */
export function ranSome(count, failure) {
  if (count.failed === 0 && (failure || count.passed === 0)) {
    console.error(failure?.message ?? 'ran no test');
    return { ...count, failed: 1 };
  }
  return count;
}
