'use strict';

// A module as CommonJS packages have them: the first one that a process imports pays for starting Node's loader and its
// lexer, whichever package it is of.
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
