'use strict';

const { deviations, expectedInSession, sessionDeviations } = require('./deviations.js');

const cases = Object.entries({ ...deviations, ...sessionDeviations }).flatMap(([deviation, { cases }]) =>
  Object.entries(cases).map(([which, expected]) => ({ title: `${deviation}: ${which}`, livekit: expected.livekit, engine: expected.engine })),
);

test.each(cases)('$title differs between the servers', ({ livekit, engine }) => {
  expect(engine).not.toEqual(livekit);
});

test('expectedInSession throws for a deviation that is not in the list', () => {
  expect(() => expectedInSession('server version', 'none', 'engine')).toThrow('server version: none');
});
