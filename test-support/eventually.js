'use strict';

const WAIT_MS = 15_000;
const POLL_MS = 100;
/** Maximum characters of the last state in an error: jest's difference alone often does not show the cause. */
const MAX_STATE_CHARS = 1_000;

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Polls until the check no longer throws. After the timeout it throws the last error, with the last state.
 * @template State
 * @param {string} what The condition, for the error.
 * @param {() => Promise<State>} look
 * @param {(state: State) => unknown} check
 * @param {{ within?: number, every?: number }} [time] Milliseconds.
 * @returns {Promise<State>} The state that passed the check.
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
        const last = JSON.stringify(state)?.slice(0, MAX_STATE_CHARS);
        error.message = `${what}: not within ${within / 1000} s\n${error.message}\nlast: ${last}`;
        throw error;
      }
    }
    await pause(every);
  }
}

module.exports = { eventually, pause };
