'use strict';

const { TYPES, fill, read } = require('./server.js');

/**
 * @typedef {import('./responses.js').Response} Response
 * @typedef {import('./server.js').Received} Received
 * @typedef {import('./server.js').Request} Request
 */

/** Replaces regular expressions by jest's matchers. @param {any} value @returns {any} */
function matcher(value) {
  if (value instanceof RegExp) return expect.stringMatching(value);
  if (Array.isArray(value)) return value.map(matcher);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, matcher(each)]));
}

/**
 * Compares a response with the expected one.
 * @param {Received} received
 * @param {Request} request
 * @param {Response} expected
 * @param {string} room The room name of the request.
 */
function expectResponse(received, request, expected, room) {
  const { headers, withinMs, ...wanted } = fill(expected, room);
  if ('message' in wanted) wanted.type = TYPES[request.encoding ?? 'json'];
  const got = read(received, request);
  // Only what is expected is compared, and an error always.
  const compared = Object.fromEntries(Object.entries(got).filter(([key]) => key in wanted || key === 'error'));
  expect(compared).toEqual(matcher(wanted));
  for (const [name, value] of Object.entries(headers ?? {})) expect({ [name]: received.headers[name] }).toEqual({ [name]: matcher(value) });
  if (withinMs !== undefined) expect(received.ms).toBeLessThan(withinMs);
}

module.exports = { expectResponse, matcher };
