'use strict';

/**
 * Whether `record[name]` comes from an `Object.prototype`, of any realm (prototype pollution). Properties of class instances,
 * proxies and objects without a prototype do not count as polluted.
 */
function isPolluted(record, name) {
  if (Object.hasOwn(record, name)) return false;
  let owner = Object.getPrototypeOf(record);
  while (owner !== null && !Object.hasOwn(owner, name)) owner = Object.getPrototypeOf(owner);
  // Only an Object.prototype has this method as an own property.
  return owner !== null && Object.hasOwn(owner, 'isPrototypeOf');
}

/** Returns `value`, which was read as `record[name]`, or `undefined` if it comes from a polluted `Object.prototype`. */
function unlessPolluted(record, name, value) {
  return value === undefined || isPolluted(record, name) ? undefined : value;
}

/** Reads `record[name]` once; `undefined` if it comes from a polluted `Object.prototype`. */
function readProperty(record, name) {
  return unlessPolluted(record, name, record[name]);
}

/** An environment variable; `undefined` if it is unset, or if the runtime denies access (Deno). */
function readEnvironment(name) {
  try {
    return readProperty(process.env, name);
  } catch {
    return undefined;
  }
}

module.exports = { isPolluted, readEnvironment, readProperty, unlessPolluted };
