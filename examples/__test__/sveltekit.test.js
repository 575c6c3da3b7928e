'use strict';

require('./huddle.js').describeHuddle('sveltekit');
