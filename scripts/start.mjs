// npm start [-- react-router | sveltekit]: an example app with hot reload, its rooms on the embedded engine. Builds what is missing first.
// PORT: the first port to try.
import net from 'node:net';
import examples from '../test-support/example-server.js';
import { apps, ensureExample, folderOf, followEdits } from '../test-support/examples.mjs';
import processes from '../test-support/processes.js';
import { ensureNodeModules } from './setup.mjs';
import { UserError, main } from './shell.mjs';

const FIRST_PORT = Number(process.env.PORT) || 5173;
const { HOST } = processes;
const READY_MS = 120_000;
const LIVEKIT = ['LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET'];
const names = Object.keys(apps);

/** @returns {import('../test-support/example-server.js').Name} */
function chosenApp([name = 'react-router', ...more]) {
  if (Object.hasOwn(apps, name) && more.length === 0) return name;
  throw new UserError(`There is no app "${[name, ...more].join(' ')}". There are: ${names.join(', ')}. Type: npm start -- ${names.at(-1)}`);
}

/** Where rooms live: as the environment says, else on the embedded engine. */
function roomLocation() {
  const { MARAVILLA_MEDIA_PROVIDER: provider, LIVEKIT_URL: url } = process.env;
  const given = LIVEKIT.filter((name) => process.env[name]);
  const missing = LIVEKIT.filter((name) => !process.env[name]);
  if (provider === 'none') return { env: {}, text: 'Nowhere: MARAVILLA_MEDIA_PROVIDER is none, so calls are switched off.' };
  if (provider === 'livekit' || (!provider && missing.length === 0)) return { env: {}, text: `On the LiveKit server ${url ?? '(LIVEKIT_URL is not set)'}.` };
  const server = `For a LiveKit server set ${missing.length < 3 && !provider ? missing.join(' and ') : LIVEKIT.join(', ')}`;
  const half = given.length > 0 && !provider ? ` ${given.join(' and ')} alone ${given.length > 1 ? 'do' : 'does'} not name one.` : '';
  return { env: { MARAVILLA_MEDIA_PROVIDER: provider || 'embedded' }, text: `In this process, on the embedded engine.${half} ${server}.` };
}

/** The first port that is free on 127.0.0.1 and on localhost, for which browsers try IPv6 first. */
async function freePort() {
  for (let port = FIRST_PORT; port <= FIRST_PORT + 100; port += 1) {
    if ((await isFree(port, HOST)) && (await isFree(port, 'localhost'))) return port;
  }
  throw new UserError(`No port from ${FIRST_PORT} on is free.`);
}

/** @param {number} port @param {string} host @returns {Promise<boolean>} */
function isFree(port, host) {
  return new Promise((resolve) => {
    const server = net.createServer().once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

const responds = async (url) => {
  // One request with a long timeout, because the dev server compiles everything before its first response.
  const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(READY_MS) }).catch(() => undefined);
  await response?.body?.cancel();
  return response !== undefined && response.status < 500;
};

function banner(name, port, rooms) {
  const other = names.find((each) => each !== name);
  return `
  The huddle, in ${apps[name].title}:  http://localhost:${port}

  1. Open it, enter a name, and join a huddle.
  2. Open http://${HOST}:${port} in a second tab, take another name and join the same huddle: the two of you are in a call.
     To the browser that address is another site with its own session. At the same address a second tab has the same session,
     and takes the call over from the first.

  Rooms    ${rooms}
  Code     examples/${name}: edit it, and the page follows.
  Also     npm start -- ${other}   (${apps[other].title})
  Ctrl-C ends it.
`;
}

/** @param {string[]} args */
async function start(args) {
  const name = chosenApp(args);
  const { env, text } = roomLocation();
  await ensureNodeModules();
  await ensureExample(name);
  const folder = folderOf(name);
  const port = await freePort();
  const command = examples.devArguments(name, folder, port);
  const app = processes.launch(process.execPath, command, { ...process.env, ...env }, { cwd: folder, isShown: true });
  // Ctrl-C is the normal end.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => app.stop().then(() => process.exit(0)));
  await processes.untilReady(app, () => responds(`http://${HOST}:${port}`), READY_MS).catch(() => {
    throw new UserError(`The dev server of examples/${name} does not run; what it printed stands above.`);
  });
  console.log(banner(name, port, text));
  const unfollow = followEdits(name);
  await new Promise((resolve) => app.child.once('close', resolve));
  unfollow();
  process.exitCode = app.child.exitCode ?? 1;
}

await main(import.meta.url, start);
