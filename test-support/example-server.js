'use strict';
// The example apps: where they run, their commands, and how they are served. CommonJS, because jest loads it inside its sandbox; examples.mjs
// installs and builds them.
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { HOST, answersHttp, freeTcpPorts, launch, startOnFreePorts, untilReady } = require('./processes.js');

/** The public address of a production build. */
const BUILT_ORIGIN = 'https://huddle.example';
/** adapter-node's options: the names of the headers that proxy-headers.js sets. */
const PROXY = { PROTOCOL_HEADER: 'x-forwarded-proto', HOST_HEADER: 'x-forwarded-host' };
/** Timeout for a dev server's first response, before which it compiles everything. */
const DEV_READY_MS = 60_000;

/**
 * @typedef {'react-router' | 'sveltekit'} Name
 * @typedef {object} App
 * @property {string} title
 * @property {string} code The folder of its sources.
 * @property {string[]} build A package, its command and the arguments; the same for the others.
 * @property {string[]} dev
 * @property {string[]} serve As `build`, or a file of the app alone.
 * @property {string[]} client Folders of the build that browsers get.
 * @property {string} [condition] An export condition that Node.js needs for the dev server.
 * @property {string} [origin] ORIGIN for the build; by default none.
 */

/** @type {Record<Name, App>} */
const apps = {
  'react-router': {
    title: 'React Router',
    code: 'app',
    build: ['@react-router/dev', 'react-router', 'build'],
    dev: ['@react-router/dev', 'react-router', 'dev'],
    serve: ['@react-router/serve', 'react-router-serve', 'build/server/index.js'],
    client: ['build/client'],
    // Without it, React Router 8 starts itself again in a further process, which can outlive this one.
    condition: 'development',
    origin: BUILT_ORIGIN,
  },
  sveltekit: {
    title: 'SvelteKit',
    code: 'src',
    build: ['vite', 'vite', 'build'],
    dev: ['vite', 'vite', 'dev'],
    serve: ['build/index.js'],
    client: ['build/client', '.svelte-kit/output/client'],
  },
};

const [major, minor] = process.versions.node.split('.').map(Number);
/** React Router 8 needs Node.js 22.22, SvelteKit 3 needs 22.17. On older versions the apps run on React Router 7 and SvelteKit 2. */
const isOldNode = major < 22 || (major === 22 && minor < 22);

/** The app as it is committed, for the frameworks' current majors. @param {string} name */
const sourceOf = (name) => path.join(__dirname, '../examples', name);

/** Where this Node.js runs the app: in place, or in a copy for the older majors. @param {Name} name */
const folderOf = (name) => (isOldNode ? path.join(__dirname, '../.cache/node20', name) : sourceOf(name));

/** The arguments for node that start the dev server. @param {Name} name @param {string} folder @param {number} port */
function devArguments(name, folder, port) {
  const { condition, dev } = apps[name];
  const conditions = condition && !isOldNode ? [`--conditions=${condition}`] : [];
  return [...conditions, ...argumentsOf(folder, [...dev, '--host', HOST, '--port', String(port), '--strictPort'])];
}

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
    // adapter-node 6 takes the address from headers, its older versions and React Router from ORIGIN.
    const proxy = name === 'sveltekit' && !isOldNode;
    const command = [...(proxy ? ['--require', path.join(__dirname, 'proxy-headers.js')] : []), ...argumentsOf(folder, apps[name].serve)];
    const started = launch(node, command, { HOST, PORT: String(free), ORIGIN: url, ...(proxy && PROXY), ...env }, { cwd: folder });
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
    const started = launch(node, devArguments(name, folder, free), env, { cwd: folder });
    await untilReady(started, () => answersHttp(free, (status) => status === 200), DEV_READY_MS);
    return { ...started, url: `http://${HOST}:${free}` };
  });
}

module.exports = { BUILT_ORIGIN, apps, argumentsOf, devArguments, folderOf, sourceOf, startDevServer, startExample };
