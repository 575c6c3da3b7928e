'use strict';

const { MediaError, isMediaError } = require('../../index.js');

/**
 * The MediaError a promise rejects with; anything else fails the test.
 * @param {Promise<unknown>} promise
 */
async function failureOf(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    if (!(error instanceof MediaError) || !isMediaError(error)) throw new Error('rejected with something else', { cause: error });
    return error;
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
    if (!(error instanceof MediaError) || !isMediaError(error)) throw new Error('threw something else', { cause: error });
    return error;
  }
  throw new Error(`returned ${typeof value}, where a failure was expected`);
}

module.exports = { failureIn, failureOf };
