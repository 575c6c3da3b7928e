'use strict';
// The example apps: their commands, and how they are served. CommonJS, because jest loads it inside its sandbox; examples.mjs installs and
// builds them.
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { HOST, answersHttp, freeTcpPorts, launch, startOnFreePorts, untilReady } = require('./processes.js');

/** What visitors of a production build type, as it is told when it is built. */
const BUILT_ORIGIN = 'https://huddle.example';
/** A dev server translates everything before its first answer. */
const DEV_READY_MS = 60_000;

/**
 * @typedef {'react-router' | 'sveltekit'} Name
 * @typedef {object} App
 * @property {string} title
 * @property {string[]} build A package, its command and the arguments; the same for the others.
 * @property {string[]} dev
 * @property {string[]} serve As `build`, or a file of the app alone.
 * @property {string[]} client Folders of the build that browsers get.
 */

/** @type {Record<Name, App>} */
const apps = {
  'react-router': {
    title: 'React Router',
    build: ['@react-router/dev', 'react-router', 'build'],
    dev: ['@react-router/dev', 'react-router', 'dev'],
    serve: ['@react-router/serve', 'react-router-serve', 'build/server/index.js'],
    client: ['build/client'],
  },
  sveltekit: {
    title: 'SvelteKit',
    build: ['vite', 'vite', 'build'],
    dev: ['vite', 'vite', 'dev'],
    serve: ['build/index.js'],
    client: ['build/client', '.svelte-kit/output/client'],
  },
};

/** @param {string} name */
const folderOf = (name) => path.join(__dirname, '../examples', name);

/** The arguments for node. npm's own links to commands are not scripts everywhere. @param {string} folder @param {string[]} command */
function argumentsOf(folder, [program, bin, ...args]) {
  if (bin === undefined) return [program];
  const installed = path.join(folder, 'node_modules', program);
  const { bin: bins } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8'));
  return [path.join(installed, typeof bins === 'string' ? bins : bins[bin]), ...args];
}

/**
 * @typedef {object} Serving
 * @property {Record<string, string>} [env]
 * @property {number} [port] Default: a free one.
 * @property {string} [folder] A copy of the app.
 * @property {string} [node] The Node that runs it; default: this one.
 */

/**
 * Serves the production build on loopback, until this process ends at the latest.
 * @param {Name} name
 * @param {Serving} [options]
 */
function startExample(name, { env, port, folder = folderOf(name), node = process.execPath } = {}) {
  return startOnFreePorts(async () => {
    const [free] = port === undefined ? await freeTcpPorts(1) : [port];
    const url = `http://${HOST}:${free}`;
    const started = launch(node, argumentsOf(folder, apps[name].serve), { HOST, PORT: String(free), ORIGIN: url, ...env }, { cwd: folder });
    await untilReady(started, () => answersHttp(free, (status) => status === 200));
    return { ...started, url };
  });
}

/**
 * Starts the dev server on loopback.
 * @param {Name} name
 * @param {Serving} [options]
 */
function startDevServer(name, { env, port, folder = folderOf(name), node = process.execPath } = {}) {
  return startOnFreePorts(async () => {
    const [free] = port === undefined ? await freeTcpPorts(1) : [port];
    const command = [...apps[name].dev, '--host', HOST, '--port', String(free), '--strictPort'];
    const started = launch(node, argumentsOf(folder, command), env, { cwd: folder });
    await untilReady(started, () => answersHttp(free, (status) => status === 200), DEV_READY_MS);
    return { ...started, url: `http://${HOST}:${free}` };
  });
}

module.exports = { BUILT_ORIGIN, apps, argumentsOf, folderOf, startDevServer, startExample };
