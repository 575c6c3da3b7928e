'use strict';

// The log of the embedded engine: MARAVILLA_MEDIA_LOG in an app, and `maravilla-media dev --log`.

require('./support/environment.js');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { LeaveRequest, SignalRequest, UpdateVideoLayers } = require('@livekit/protocol');
const { AccessToken } = require('livekit-server-sdk');
const WebSocket = require('ws');
const { createPlatform } = require('../index.js');
const { entry, root } = require('./support/child.js');
const { warnings } = require('./support/configuration.js');
const { apiKey, apiSecret } = require('./support/embedded.js');
const { cleanEnv } = require('./support/environment.js');
const { cleanUp } = require('./support/serve.js');

const { bin } = require('../package.json');
const LEVELS = ['off', 'error', 'warn', 'info', 'debug'];
const PAIR = { MARAVILLA_MEDIA_API_KEY: apiKey, MARAVILLA_MEDIA_API_SECRET: apiSecret, MARAVILLA_MEDIA_PORT: '0' };
const COMMAND = [path.join(root, bin['maravilla-media']), 'dev', '--json'];
const APP = [
  '--eval',
  `setInterval(() => {}, 1000); require(${JSON.stringify(entry)}).getPlatform().media.mediaUrl().then((url) => console.log(JSON.stringify({ url })));`,
];

/**
 * Starts a process with an engine. `logged` resolves with its standard error once that matches `pattern`.
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
async function serve(args, env) {
  const child = spawn(process.execPath, args, { env: { ...cleanEnv(), MARAVILLA_MEDIA_PROVIDER: 'embedded', ...PAIR, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  cleanUp(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const logged = async (pattern = /^/) => {
    while (!pattern.test(stderr)) await once(child.stderr, 'data');
    return stderr;
  };
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  return { child, logged, url: JSON.parse(line).url };
}

/** Joins as `identity`, sends a request that the engine rejects, and leaves. */
async function visit(url, identity = 'ann') {
  const token = new AccessToken(apiKey, apiSecret, { identity });
  token.addGrant({ roomJoin: true, room: 'room' });
  const socket = new WebSocket(`${url}/rtc?access_token=${await token.toJwt()}&protocol=15&auto_subscribe=1`);
  const send = (message) => socket.send(new SignalRequest({ message }).toBinary());
  await once(socket, 'message');
  send({ case: 'updateLayers', value: new UpdateVideoLayers() });
  send({ case: 'leave', value: new LeaveRequest() });
  await once(socket, 'close');
}

test.each([
  ['MARAVILLA_MEDIA_LOG of an app', APP, { MARAVILLA_MEDIA_LOG: 'info' }],
  ['MARAVILLA_MEDIA_LOG of maravilla-media dev', COMMAND, { MARAVILLA_MEDIA_LOG: 'info' }],
  ['maravilla-media dev --log', [...COMMAND, '--log', 'info'], { MARAVILLA_MEDIA_LOG: 'off' }],
])('%s logs joins and leaves on standard error', async (_, args, env) => {
  const { logged, url } = await serve(args, env);
  await visit(url);
  const log = await logged(/participant left/);
  expect(log).toMatch(/ INFO .*participant joined room="room" participant="ann" session=\d+ sid="PA_\w+"\n/);
  expect(log).toMatch(/ INFO .*participant left room="room" participant="ann" session=\d+ reason="CLIENT_INITIATED"\n/);
  expect(log).not.toMatch(/DEBUG/);
});

test('level debug includes rejected requests, and contains no token or secret', async () => {
  const { logged, url } = await serve([...COMMAND, '--log', 'debug']);
  await visit(url);
  const log = await logged(/participant left/);
  expect(log).toMatch(/DEBUG .*request rejected participant="ann" session=\d+ reason="UNSUPPORTED_TYPE"\n/);
  for (const secret of [apiSecret, 'eyJ']) expect(log).not.toContain(secret);
});

test('escapes line breaks and control characters of an identity', async () => {
  const { logged, url } = await serve([...COMMAND, '--log', 'info']);
  await visit(url, 'ann\n\u001b[31mERROR forged');
  const log = await logged(/participant left/);
  expect(log).toContain(String.raw`participant="ann\n\u{1b}[31mERROR forged"`);
  expect(log).toMatch(/^(\S+ {2}INFO .*\n)+$/);
});

test.each([
  ['by default', {}],
  ['with off', { MARAVILLA_MEDIA_LOG: 'off' }],
])('logs nothing %s', async (_, env) => {
  const { child, logged, url } = await serve(COMMAND, env);
  await visit(url);
  child.kill('SIGTERM');
  await once(child, 'close');
  expect(await logged()).toBe('');
});

test('the last level set in a process counts', async () => {
  const { logged, url } = await serve([
    '--eval',
    `const { createPlatform } = require(${JSON.stringify(entry)});
    const open = (log) => createPlatform({ provider: 'embedded', apiKey: ${JSON.stringify(apiKey)}, apiSecret: ${JSON.stringify(apiSecret)}, env: { MARAVILLA_MEDIA_LOG: log } });
    open('off'); const { media } = open('info'); open(undefined);
    setInterval(() => {}, 1000); media.mediaUrl().then((url) => console.log(JSON.stringify({ url })));`,
  ]);
  await visit(url);
  expect(await logged(/participant left/)).toContain('participant joined');
});

describe('an unknown level', () => {
  test('in a variable turns media off, and the warning names the variable and the levels', () => {
    expect(createPlatform({ provider: 'embedded', env: { MARAVILLA_MEDIA_LOG: 'loud' } }).media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
    for (const part of ['MARAVILLA_MEDIA_LOG', '"loud"', ...LEVELS]) expect(warnings()[0]).toContain(part);
  });

  test.each([
    ['--log', ['--log', 'loud'], {}],
    ['MARAVILLA_MEDIA_LOG', [], { MARAVILLA_MEDIA_LOG: 'loud' }],
  ])('in %s of maravilla-media dev ends it with 2, and the message names both and the levels', async (_, args, env) => {
    const child = spawn(process.execPath, [...COMMAND, ...args], { env: { ...cleanEnv(), ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    expect(await once(child, 'close')).toEqual([2, null]);
    for (const part of ['--log', 'MARAVILLA_MEDIA_LOG', ...LEVELS, 'Usage: maravilla-media dev']) expect(stderr).toContain(part);
  });
});
