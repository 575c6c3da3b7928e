'use strict';

// For Bun: its bundler copies an addon that is required by name, and its executables hold it.

const { describeTarget, isTruncated, loadAddon, usualPlaces } = require('./addon.js');

/** @param {string} target */
function loadNamed(target) {
  try {
    if (!usualPlaces(target).some(isTruncated)) return require('../binding.js');
  } catch {
    // Said better below.
  }
  return loadAddon(target);
}

module.exports = { describeTarget, loadAddon: loadNamed };
