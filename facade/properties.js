'use strict';

/**
 * Whether `record[name]` is there only because somebody gave `Object.prototype`, of any realm, a property of that name
 * (prototype pollution). Instances of classes, proxies and objects without a prototype keep all they have.
 */
function isPolluted(record, name) {
  if (Object.hasOwn(record, name)) return false;
  let owner = Object.getPrototypeOf(record);
  while (owner !== null && !Object.hasOwn(owner, name)) owner = Object.getPrototypeOf(owner);
  // A root that is no record of the caller's: Object.prototype, and nothing else, has this method of its own.
  return owner !== null && Object.hasOwn(owner, 'isPrototypeOf');
}

/** The value that was read as `record[name]`; `undefined` where only a polluted `Object.prototype` has it. */
function unlessPolluted(record, name, value) {
  return value === undefined || isPolluted(record, name) ? undefined : value;
}

/** `record[name]`, read once; `undefined` where only a polluted `Object.prototype` has it. */
function readProperty(record, name) {
  return unlessPolluted(record, name, record[name]);
}

/** A variable of the process; `undefined` where it is not set, or the runtime does not allow it to be read (Deno). */
function readEnvironment(name) {
  try {
    return readProperty(process.env, name);
  } catch {
    return undefined;
  }
}

module.exports = { isPolluted, readEnvironment, readProperty, unlessPolluted };
