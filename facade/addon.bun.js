'use strict';

// For Bun: its bundler copies an addon that is required by name, and embeds it in executables.

const { describeTarget, isTruncated, loadAddon, usualPlaces } = require('./addon.js');

/** @param {string} target */
function loadNamed(target) {
  try {
    if (!usualPlaces(target).some(isTruncated)) return require('../binding.js');
  } catch {
    // loadAddon reports it in more detail.
  }
  return loadAddon(target);
}

module.exports = { describeTarget, loadAddon: loadNamed };
