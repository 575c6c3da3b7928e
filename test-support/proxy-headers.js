'use strict';
// Preloaded into the built SvelteKit 3 app: sets the headers that a reverse proxy at ORIGIN would set. adapter-node 6 reads ORIGIN only when
// the app is built, and the tests serve one build at many addresses.
const { subscribe } = require('node:diagnostics_channel');

const { host, protocol } = new URL(process.env.ORIGIN ?? '');
const headers = { 'x-forwarded-host': host, 'x-forwarded-proto': protocol.replace(':', '') };
subscribe('http.server.request.start', ({ request }) => Object.assign(request.headers, headers));
