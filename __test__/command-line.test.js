'use strict';

// The command `maravilla-media`.

require('./support/environment.js');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { parseEnv } = require('node:util');
const { RoomServiceClient } = require('livekit-server-sdk');
const { createPlatform } = require('../index.js');
const { root } = require('./support/child.js');
const { candidatesOf, freePort, occupy, validate } = require('./support/embedded.js');
const { cleanEnv } = require('./support/environment.js');
const { cleanUp } = require('./support/serve.js');

const { bin, files, version } = require('../package.json');
const program = path.join(root, bin['maravilla-media']);
const OPTIONS = ['--port', '--host', '--rtc-port', '--rtc-address', '--webhook-url', '--key', '--secret', '--log', '--json', '--help'];
const VARIABLES = ['MARAVILLA_MEDIA_PORT', 'MARAVILLA_MEDIA_HOST', 'MARAVILLA_MEDIA_RTC_PORT', 'MARAVILLA_MEDIA_RTC_ADDRESS', 'MARAVILLA_MEDIA_WEBHOOK_URLS', 'MARAVILLA_MEDIA_API_KEY', 'MARAVILLA_MEDIA_API_SECRET', 'MARAVILLA_MEDIA_LOG'];

/**
 * Starts the command. `printed` resolves with its standard output once that matches `pattern`.
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
function start(args, env = {}) {
  const child = spawn(process.execPath, [program, ...args], { env: { ...cleanEnv(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  cleanUp(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (output.stderr += text));
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }));
  const printed = async (pattern) => {
    while (!pattern.test(output.stdout)) {
      const more = await Promise.race([once(child.stdout, 'data'), ended]);
      if (!Array.isArray(more) && !pattern.test(output.stdout)) throw new Error(`ended first: ${JSON.stringify(more)}`);
    }
    return output.stdout;
  };
  return { child, ended, printed };
}

const run = (args, env) => start(args, env).ended;

/** Starts `dev --json`; `info` is its output. */
async function serve(args, env) {
  const running = start(['dev', '--json', ...args], env);
  return { ...running, info: JSON.parse(await running.printed(/\n/)) };
}

describe('maravilla-media', () => {
  test('is an executable file of the package', () => {
    expect(files).toContain(path.dirname(bin['maravilla-media']));
    expect(fs.statSync(program).mode & 0o111).toBe(0o111);
    expect(fs.readFileSync(program, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  test('--version prints the version', async () => {
    expect(await run(['--version'])).toEqual({ code: 0, signal: null, stdout: `${version}\n`, stderr: '' });
  });

  test.each([['--help'], ['-h']])('%s prints the usage and the command', async (flag) => {
    const { code, stdout, stderr } = await run([flag]);
    expect([code, stderr]).toEqual([0, '']);
    for (const part of ['Usage: maravilla-media', ' dev ', '--help', '--version', 'Examples:']) expect(stdout).toContain(part);
  });

  test.each([['--help'], ['-h']])('dev %s prints every option, variable and exit code, with examples', async (flag) => {
    const { code, stdout, stderr } = await run(['dev', flag]);
    expect([code, stderr]).toEqual([0, '']);
    for (const part of ['Usage: maravilla-media dev', ...OPTIONS, '-h', ...VARIABLES, '7880', '127.0.0.1', 'devkey', 'Examples:', 'Exit codes:']) expect(stdout).toContain(part);
    for (const exit of [0, 1, 2]) expect(stdout).toMatch(new RegExp(`^  ${exit}  `, 'm'));
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  test.each([
    ['no command', []],
    ['an unknown command', ['serve']],
    ['an unknown option', ['--prot']],
  ])('with %s prints its usage and exits with 2', async (_, args) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('Usage: maravilla-media <command>');
  });
});

describe('maravilla-media dev', () => {
  const secret = 'the-secret-itself-which-must-never-show';

  test.each([
    ['an unknown option', ['--prot', '7880'], '--prot'],
    ['an argument', ['7880'], 'options'],
    ['an option without its value', ['--port'], '--port'],
    ['a port that is not a number', ['--port', 'x'], '--port'],
    ['a port out of range', ['--port', '65536'], '--port'],
    ['a host that is not an IP address', ['--host', 'example.com'], '--host'],
    ['a host with a zone', ['--host', 'fe80::1%lo', '--key', 'k', '--secret', secret], '--host'],
    ['a media port out of range', ['--rtc-port', '0'], '--rtc-port'],
    ['a media port equal to the port', ['--port', '50000', '--rtc-port', '50000'], '--rtc-port'],
    ['a webhook URL that is none', ['--webhook-url', 'example.com/webhook'], '--webhook-url'],
    ['a media address that is a name', ['--rtc-address', '192.0.2.7,example.com'], '--rtc-address'],
    ['a key without a secret', ['--key', 'k'], '--secret'],
    ['a secret without a key', ['--secret', secret], '--key'],
    ['a secret with a space', ['--key', 'k', '--secret', `${secret} `], '--secret'],
  ])('with %s names the option, prints the usage and exits with 2', async (_, args, named) => {
    const { code, stdout, stderr } = await run(['dev', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(named);
    expect(stderr).toContain('Usage: maravilla-media dev');
    expect(stderr).not.toContain(secret);
  });

  test.each([
    ['MARAVILLA_MEDIA_PORT', 'x'],
    ['MARAVILLA_MEDIA_HOST', 'example.com'],
    ['MARAVILLA_MEDIA_RTC_PORT', 'x'],
    ['MARAVILLA_MEDIA_API_KEY', 'alone'],
  ])('with an invalid %s names the variable and exits with 2', async (variable, value) => {
    const { code, stderr } = await run(['dev', '--port', ...(variable === 'MARAVILLA_MEDIA_PORT' ? [''] : ['0'])], { [variable]: value });
    expect(code).toBe(2);
    expect(stderr).toContain(variable === 'MARAVILLA_MEDIA_API_KEY' ? 'MARAVILLA_MEDIA_API_SECRET' : variable);
  });

  test('--json prints its URL and key on one line once it serves', async () => {
    const { child, info } = await serve(['--port', '0']);
    const { port } = info;
    expect(info).toEqual({ url: `ws://127.0.0.1:${port}`, httpUrl: `http://127.0.0.1:${port}`, host: '127.0.0.1', port, apiKey: 'devkey', pid: child.pid });
    expect((await fetch(info.httpUrl)).status).toBe(200);
  });

  test('has the port, key and secret of livekit-server --dev', async () => {
    const host = '127.0.82.1';
    const { info } = await serve(['--host', host]);
    expect(info).toMatchObject({ url: `ws://${host}:7880`, apiKey: 'devkey' });
    const { media } = createPlatform({ url: info.url, apiKey: 'devkey', apiSecret: 'secret' });
    await media.createRoom('room');
    expect(await new RoomServiceClient(info.httpUrl, 'devkey', 'secret').listRooms()).toMatchObject([{ name: 'room' }]);
    const { token, url } = await media.generateToken('room', { identity: 'ann', name: 'Ann' });
    expect(await validate(url, token)).toBe(200);
  });

  test('reads key, secret, host and port from options, or else from variables', async () => {
    const env = { MARAVILLA_MEDIA_API_KEY: 'from-env', MARAVILLA_MEDIA_API_SECRET: secret, MARAVILLA_MEDIA_HOST: '127.0.82.2', MARAVILLA_MEDIA_PORT: '17880' };
    const { info } = await serve([], env);
    expect(info).toMatchObject({ url: 'ws://127.0.82.2:17880', host: '127.0.82.2', port: 17_880, apiKey: 'from-env' });
    await createPlatform({ url: info.url, apiKey: 'from-env', apiSecret: secret }).media.createRoom('room');
    const { info: other } = await serve(['--host', '127.0.82.3', '--port', '17881', '--key', 'given', '--secret', `${secret}2`], env);
    expect(other).toMatchObject({ url: 'ws://127.0.82.3:17881', apiKey: 'given' });
    await createPlatform({ url: other.url, apiKey: 'given', apiSecret: `${secret}2` }).media.createRoom('room');
  });

  test('reads the media port and addresses from options, or else from variables', async () => {
    const [fromEnv, given] = [await freePort(), await freePort()];
    const env = { MARAVILLA_MEDIA_RTC_PORT: String(fromEnv), MARAVILLA_MEDIA_RTC_ADDRESS: '192.0.2.7' };
    const { info } = await serve(['--port', '0'], env);
    const mediaOf = ({ url }) => createPlatform({ url, apiKey: 'devkey', apiSecret: 'secret' }).media;
    expect(await candidatesOf(mediaOf(info))).toEqual([`tcp 192.0.2.7 ${fromEnv}`, `udp 192.0.2.7 ${fromEnv}`]);
    const { info: other } = await serve(['--port', '0', '--rtc-port', String(given), '--rtc-address', '192.0.2.8'], env);
    expect(await candidatesOf(mediaOf(other))).toEqual([`tcp 192.0.2.8 ${given}`, `udp 192.0.2.8 ${given}`]);
  });

  test("ignores LiveKit's variables", async () => {
    const { info } = await serve(['--port', '0'], { LIVEKIT_URL: 'wss://production.example', LIVEKIT_API_KEY: 'production', LIVEKIT_API_SECRET: secret });
    expect(info).toMatchObject({ host: '127.0.0.1', apiKey: 'devkey' });
    expect((await createPlatform({ url: info.url, apiKey: 'production', apiSecret: secret }).media.listRooms().catch(({ code }) => code))).toBe('UNAUTHENTICATED');
  });

  test('prints variables for an app that uses it', async () => {
    const { printed } = start(['dev', '--port', '0']);
    const text = await printed(/Ctrl-C/);
    const url = /ws:\/\/127\.0\.0\.1:\d+/.exec(text)[0];
    for (const part of [`LIVEKIT_URL=${url}`, 'LIVEKIT_API_KEY=devkey', 'LIVEKIT_API_SECRET']) expect(text).toContain(part);
  });

  /** The lines for a .env file in the output. */
  const pasted = (text) => parseEnv(/^(?:[A-Z_]+=.*\n)+/m.exec(text)[0]);

  test.each([
    ['the development key', [], {}],
    ['an own key', ['--key', 'a#b', '--secret', secret], { LIVEKIT_API_SECRET: secret }],
  ])('prints lines for .env with which an app can use it: %s', async (_, args, more) => {
    const { printed } = start(['dev', '--port', '0', ...args]);
    const env = { ...pasted(await printed(/Ctrl-C/)), ...more };
    expect(Object.keys(env).sort()).toEqual(['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'LIVEKIT_URL']);
    const { media } = createPlatform({ env });
    await media.createRoom('room');
    expect(await media.listRooms()).toMatchObject([{ name: 'room' }]);
  });

  test.each([[[]], [['--json']]])('does not print a given secret: %j', async (more) => {
    const { child, ended, printed } = start(['dev', '--port', '0', '--key', 'k', '--secret', secret, ...more]);
    await printed(more.length > 0 ? /\n/ : /Ctrl-C/);
    child.kill('SIGTERM');
    const { stdout, stderr } = await ended;
    expect(stdout).toContain('k');
    expect(stdout + stderr).not.toContain(secret);
  });

  test.each([['0.0.0.0'], ['::'], ['192.0.2.9']])('with the development secret rejects the host %s', async (host) => {
    for (const pair of [[], ['--key', 'devkey', '--secret', 'secret']]) {
      const { code, stdout, stderr } = await run(['dev', '--port', '0', '--host', host, ...pair]);
      expect([code, stdout]).toEqual([2, '']);
      for (const part of [host, '--key', '--secret']) expect(stderr).toContain(part);
    }
  });

  test('rejects other origins with the development key only', async () => {
    const { info } = await serve(['--port', '0']);
    const status = async (origin) => (await fetch(info.httpUrl, { headers: origin ? { origin } : {} })).status;
    for (const origin of ['https://evil.example', 'http://192.168.1.5:5173', 'null']) expect(await status(origin)).toBe(403);
    for (const origin of ['http://localhost:5173', 'http://127.0.0.1', undefined]) expect(await status(origin)).toBe(200);
    const { info: other } = await serve(['--port', '0', '--key', 'k', '--secret', secret]);
    expect((await fetch(other.httpUrl, { headers: { origin: 'https://app.example' } })).status).toBe(200);
  });

  test('with an own key serves every address', async () => {
    const { info } = await serve(['--port', '0', '--host', '0.0.0.0', '--key', 'k', '--secret', 'short']);
    expect(info.host).toBe('0.0.0.0');
    expect(info.url).not.toContain('0.0.0.0');
    expect((await fetch(`http://127.0.0.1:${info.port}`)).status).toBe(200);
  });

  test.each([['127.0.82.4'], ['::1'], ['localhost']])('with the development key serves the loopback host %s', async (host) => {
    const { info } = await serve(['--port', '0', '--host', host]);
    expect(info.host).toBe(host);
    expect((await fetch(info.httpUrl)).status).toBe(200);
  });

  test('with a port in use names --port 0 and exits with 1', async () => {
    const host = '127.0.82.5';
    await occupy(7880, host);
    const { code, stdout, stderr } = await run(['dev', '--host', host]);
    expect([code, stdout]).toEqual([1, '']);
    for (const part of ['7880', '--port 0']) expect(stderr).toContain(part);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe('maravilla-media dev', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'])('exits with 0 after %s, and its port is free', async (signal) => {
    const { child, ended, info } = await serve(['--port', '0']);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    await occupy(info.port);
  });

  test('exits after a second signal, with 0 or the code of a signal', async () => {
    const { child, ended } = await serve(['--port', '0']);
    child.kill('SIGTERM');
    child.kill('SIGINT');
    const { code, signal, stderr } = await ended;
    expect([0, 128 + 2, 128 + 15]).toContain(code);
    expect([signal, stderr]).toEqual([null, '']);
  });

  test('does not exit without a signal', async () => {
    const { child, info } = await serve(['--port', '0']);
    for (let round = 0; round < 20; round += 1) expect((await fetch(info.httpUrl)).status).toBe(200);
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  });

  test('exits with 0 if its output is closed', async () => {
    for (const more of [[], ['--json'], ['--help']]) {
      const { child, ended } = start(['dev', '--port', '0', ...more]);
      // Closed before it prints anything.
      child.stdout.destroy();
      expect(await ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    }
  });
});
