'use strict';

// Each request of the table, and what must come of it.

const { deviations, expectedOf } = require('./deviations.js');
const { requests } = require('./requests/index.js');
const { expectAnswer } = require('./support/compare.js');
const { answerTo, cleanUp, identify, newRun, roomOf, sendAll, serverFromEnvironment } = require('./support/server.js');

/** LiveKit's lets callers wait three seconds for a participant who is not there; there are some. */
const ALL_MS = 120_000;

const server = serverFromEnvironment();
const run = newRun();
/** @type {'engine' | 'livekit'} */
let kind;
/** @type {Awaited<ReturnType<typeof sendAll>>} */
let received;

beforeAll(async () => {
  kind = await identify(server);
  received = await sendAll(server, requests, run);
}, ALL_MS);
afterAll(() => cleanUp(server, run));

test.each(requests.map((request, index) => ({ ...request, request, index })))('$title', ({ request, index }) => {
  expectAnswer(answerTo(received, request), request, expectedOf(request.expected, kind), roomOf(run, index));
});

test('each request has a title of its own', () => {
  const titles = requests.map(({ title }) => title);
  expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
});

test('each deviation is met by a request', () => {
  const met = new Set(requests.map(({ expected }) => 'deviation' in expected && `${expected.deviation}: ${expected.which}`));
  const all = Object.entries(deviations).flatMap(([deviation, { cases }]) => Object.keys(cases).map((which) => `${deviation}: ${which}`));
  expect(all.filter((each) => !met.has(each))).toEqual([]);
});

test('an engine never repeats a token', () => {
  if (kind !== 'engine') return;
  for (const answer of received.values()) {
    // What brought no answer has failed under its own name.
    if ('error' in answer) continue;
    const { body, token } = answer;
    const parts = token?.split('.').filter((part) => part.length > 8) ?? [];
    expect(parts.filter((part) => body.includes(part))).toEqual([]);
  }
});
