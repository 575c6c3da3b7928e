'use strict';

const WAIT_MS = 15_000;
const POLL_MS = 100;
/** Of what was there last, in characters: the difference alone does not tell why. */
const MOST_SHOWN = 1_000;

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Looks again and again until the check no longer throws. If that takes too long, the last error tells what was there.
 * @template State
 * @param {string} what In the words of the test.
 * @param {() => Promise<State>} look
 * @param {(state: State) => unknown} check
 * @param {{ within?: number, every?: number }} [time] Milliseconds.
 * @returns {Promise<State>} What there was when the check passed.
 */
async function eventually(what, look, check, { within = WAIT_MS, every = POLL_MS } = {}) {
  const deadline = Date.now() + within;
  for (;;) {
    const state = await look();
    try {
      check(state);
      return state;
    } catch (error) {
      if (Date.now() > deadline) {
        const last = JSON.stringify(state)?.slice(0, MOST_SHOWN);
        error.message = `${what}: not within ${within / 1000} s\n${error.message}\nlast: ${last}`;
        throw error;
      }
    }
    await pause(every);
  }
}

module.exports = { eventually, pause };
