'use strict';

require('./huddle.js').describeHuddle('react-router');
