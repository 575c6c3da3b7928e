'use strict';

const { readProperty } = require('./properties.js');

/** A variable of the process; `undefined` where it is not set, or the runtime does not allow it to be read (Deno). */
function readEnvironment(name) {
  try {
    return readProperty(process.env, name);
  } catch {
    return undefined;
  }
}

module.exports = { readEnvironment };
