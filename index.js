'use strict';

const { MediaError, isMediaError } = require('./facade/errors.js');
const { clearPlatformCache, createPlatform, getPlatform } = require('./facade/platform.js');

module.exports = { MediaError, clearPlatformCache, createPlatform, getPlatform, isMediaError };
