'use strict';

const { TYPES, fill, read } = require('./server.js');

/**
 * @typedef {import('./answers.js').Answer} Answer
 * @typedef {import('./server.js').Received} Received
 * @typedef {import('./server.js').Request} Request
 */

/** Jest's matcher for whatever a regular expression stands for. @param {any} value @returns {any} */
function matcher(value) {
  if (value instanceof RegExp) return expect.stringMatching(value);
  if (Array.isArray(value)) return value.map(matcher);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, matcher(each)]));
}

/**
 * The answer must be as expected.
 * @param {Received} received
 * @param {Request} request
 * @param {Answer} expected
 * @param {string} room The request's own.
 */
function expectAnswer(received, request, expected, room) {
  const { headers, withinMs, ...wanted } = fill(expected, room);
  if ('message' in wanted) wanted.type = TYPES[request.encoding ?? 'json'];
  const got = read(received, request);
  // Those that are not told are not looked at.
  const looked = Object.fromEntries(Object.entries(got).filter(([key]) => key in wanted || key === 'error'));
  expect(looked).toEqual(matcher(wanted));
  for (const [name, value] of Object.entries(headers ?? {})) expect({ [name]: received.headers[name] }).toEqual({ [name]: matcher(value) });
  if (withinMs !== undefined) expect(received.ms).toBeLessThan(withinMs);
}

module.exports = { expectAnswer, matcher };
