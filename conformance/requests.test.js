'use strict';

// Sends every request of the table once, and compares each response with the expected one.

const { deviations, expectedOf } = require('./deviations.js');
const { requests } = require('./requests/index.js');
const { expectResponse } = require('./support/compare.js');
const { cleanUp, identify, newRun, responseTo, roomOf, sendAll, serverFromEnvironment } = require('./support/server.js');

/** livekit-server waits 3 s for each unknown participant. */
const ALL_MS = 120_000;
/** Shorter parts of a token can be in a response by chance. */
const MIN_TOKEN_PART = 9;

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
  expectResponse(responseTo(received, request), request, expectedOf(request.expected, kind), roomOf(run, index));
});

test('each request has its own title', () => {
  const titles = requests.map(({ title }) => title);
  expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
});

test('each deviation has a request', () => {
  const covered = new Set(requests.map(({ expected }) => 'deviation' in expected && `${expected.deviation}: ${expected.which}`));
  const all = Object.entries(deviations).flatMap(([deviation, { cases }]) => Object.keys(cases).map((which) => `${deviation}: ${which}`));
  expect(all.filter((each) => !covered.has(each))).toEqual([]);
});

test('no response contains a part of the token', () => {
  const withToken = requests.filter(({ token }) => token !== undefined);
  const leaks = withToken.filter((request) => {
    const { body, token } = responseTo(received, request);
    const parts = String(token).split('.').filter((part) => part.length >= MIN_TOKEN_PART);
    expect(parts).not.toEqual([]);
    return parts.some((part) => body.includes(part));
  });
  expect(leaks.map(({ title }) => title)).toEqual([]);
});
