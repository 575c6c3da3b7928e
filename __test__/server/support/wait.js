'use strict';

/**
 * Polls until `check` gives a truthy value, and returns it.
 * @template T
 * @param {() => T | Promise<T>} check
 * @param {number} [withinMs]
 * @returns {Promise<Exclude<T, false | null | undefined | 0 | ''>>}
 */
async function until(check, withinMs = 10_000) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found) return /** @type {any} */ (found);
    if (Date.now() > deadline) throw new Error(`no result within ${withinMs} ms: ${check}`);
    await pause(50);
  }
}

/** Only to check that nothing happens: otherwise wait for an event. @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Tests that mostly wait: all start together, and each reports its own result.
 * @param {Record<string, () => Promise<void>>} cases
 */
function testTogether(cases) {
  /** @type {Record<string, Promise<{ error: unknown } | undefined>>} */
  let running;
  beforeAll(() => {
    const start = async (/** @type {() => Promise<void>} */ run) => {
      try {
        await run();
      } catch (error) {
        return { error };
      }
    };
    running = Object.fromEntries(Object.entries(cases).map(([name, run]) => [name, start(run)]));
  });
  for (const name of Object.keys(cases)) {
    test(name, async () => {
      const failed = await running[name];
      if (failed) throw failed.error;
    });
  }
}

module.exports = { pause, testTogether, until };
