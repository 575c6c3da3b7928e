'use strict';

// A platform that the host runtime has put into the global scope. Without Node.js built-ins, because the edge entry uses it too.

const { readProperty } = require('./properties.js');

const NAMES = ['platform', '__maravilla_platform'];
const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

/** The injected platform, or `undefined`; `own`, which an app may have put there itself, is none. */
function findInjected(own) {
  return NAMES.map((name) => readProperty(globalThis, name)).find((value) => isObject(value) && value !== own);
}

module.exports = { findInjected };
