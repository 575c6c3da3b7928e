'use strict';

const { isMediaError } = require('../../index.js');

/**
 * The MediaError a promise rejects with; anything else fails the test.
 * @param {Promise<unknown>} promise
 */
async function failureOf(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return checked(error, 'rejected');
  }
  throw new Error(`resolved with ${JSON.stringify(value)}, where a failure was expected`);
}

/**
 * The MediaError a function throws.
 * @param {() => unknown} run
 */
function failureIn(run) {
  let value;
  try {
    value = run();
  } catch (error) {
    return checked(error, 'threw');
  }
  throw new Error(`returned ${typeof value}, where a failure was expected`);
}

function checked(error, how) {
  if (error instanceof Error && error.name === 'MediaError' && isMediaError(error)) return error;
  throw new Error(`${how} with something else`, { cause: error });
}

module.exports = { failureIn, failureOf };
