'use strict';

// Importing this starts Node's loader for CommonJS modules.
module.exports = {};
