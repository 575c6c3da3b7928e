'use strict';

// A small CommonJS module. The first one that a process imports also starts Node.js's loader and lexer.
class Warm extends Error {
  constructor(message) {
    super(message);
    this.code = 'WARM';
  }
}

function isWarm(value) {
  return value instanceof Warm;
}

module.exports = { Warm, isWarm };
