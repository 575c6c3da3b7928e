'use strict';

const { isMediaError } = require('../../index.js');

/**
 * The MediaError that a promise rejects with; anything else fails the test.
 * @param {Promise<unknown>} promise
 */
async function failureOf(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return checked(error, 'rejected');
  }
  throw new Error(`resolved with ${JSON.stringify(value)}, instead of a failure`);
}

/**
 * The MediaError that a function throws.
 * @param {() => unknown} run
 */
function failureIn(run) {
  let value;
  try {
    value = run();
  } catch (error) {
    return checked(error, 'threw');
  }
  throw new Error(`returned ${typeof value}, instead of a failure`);
}

function checked(error, how) {
  if (error instanceof Error && error.name === 'MediaError' && isMediaError(error)) return error;
  throw new Error(`${how} another error`, { cause: error });
}

module.exports = { failureIn, failureOf };
