'use strict';

// The platform that the host runtime injects into the global scope. Uses no Node.js built-ins, because the edge entry loads it too.

const { readProperty } = require('./properties.js');

const NAMES = ['platform', '__maravilla_platform'];
const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

/** The injected platform, or `undefined`. `own` is ignored: our platform, which an app may have put there itself. */
function findInjected(own) {
  return NAMES.map((name) => readProperty(globalThis, name)).find((value) => isObject(value) && value !== own);
}

module.exports = { findInjected };
