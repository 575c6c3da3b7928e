'use strict';

/**
 * Expects a value that every serializer accepts: plain objects and arrays of this realm, strings, finite numbers and booleans.
 * @param {any} value
 */
function expectPlain(value) {
  if (typeof value !== 'object') {
    expect(['string', 'number', 'boolean']).toContain(typeof value);
    if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true);
    return;
  }
  expect(value).not.toBeNull();
  const isArray = Array.isArray(value);
  expect(Object.getPrototypeOf(value)).toBe(isArray ? Array.prototype : Object.prototype);
  for (const key of Reflect.ownKeys(value)) {
    if (isArray && key === 'length') continue;
    expect(typeof key).toBe('string');
    expect(Object.getOwnPropertyDescriptor(value, key)).toMatchObject({ enumerable: true, writable: true, configurable: true });
    expectPlain(value[key]);
  }
  expect(JSON.parse(JSON.stringify(value))).toEqual(value);
  expect(structuredClone(value)).toEqual(value);
}

module.exports = { expectPlain };
