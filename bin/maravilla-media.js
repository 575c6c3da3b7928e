#!/usr/bin/env node
'use strict';

// The embedded engine as a standalone server, for development.

const { BlockList, isIP } = require('node:net');
const { constants } = require('node:os');
const { parseArgs } = require('node:util');
const { requireNode } = require('../facade/native.js');
const { readProperty } = require('../facade/properties.js');
const { LOG_LEVELS } = require('../facade/providers.js');
const { createPlatform, isMediaError } = require('../index.js');
const { version } = require('../package.json');

/** The public credentials of `livekit-server --dev`. */
const KNOWN = { key: 'devkey', secret: 'secret' };

const REACH = `Browsers and LiveKit's other clients join it, from this machine and, with
--host, from its networks. It has no STUN or TURN.`;

const HELP = `maravilla-media: media rooms on this machine, as a LiveKit server has them

Usage: maravilla-media <command> [options]

Commands:
  dev          run the embedded engine, in place of livekit-server --dev

Options:
  -h, --help   show this; after a command, the command's own help
  --version    show the version

Examples:
  maravilla-media dev
  maravilla-media dev --help

Exit codes: 0 success, 1 it could not serve, 2 the command line is wrong.
`;

const DEV_HELP = `maravilla-media dev: run the embedded engine, in place of livekit-server --dev

Usage: maravilla-media dev [options]

Options:
  --port <number>    port to listen on, 0 for any free one; default 7880
  --host <address>   IP address to listen on, or localhost; default 127.0.0.1
  --rtc-port <number>
                     UDP and TCP port for media; default any free one
  --rtc-address <addresses>
                     IP addresses that clients send media to, separated by
                     commas; default this machine's own
  --webhook-url <url>
                     URL that receives webhooks; may be given more than once
  --key <text>       API key; default devkey
  --secret <text>    API secret; default secret
  --log <level>      log the engine's events on standard error: off, error,
                     warn, info or debug; default off
  --json             print one line once it serves, and nothing else:
                     {"url","httpUrl","host","port","apiKey","pid"}
  -h, --help         show this

Variables, each read where its option is missing:
  MARAVILLA_MEDIA_PORT, MARAVILLA_MEDIA_HOST,
  MARAVILLA_MEDIA_RTC_PORT, MARAVILLA_MEDIA_RTC_ADDRESS,
  MARAVILLA_MEDIA_WEBHOOK_URLS (separated by commas),
  MARAVILLA_MEDIA_API_KEY, MARAVILLA_MEDIA_API_SECRET,
  MARAVILLA_MEDIA_LOG

Give key and secret together, or neither: then they are devkey and secret, the
pair of livekit-server --dev. That pair is public, so with it only this
machine is served, and web pages only if their host is localhost, *.localhost,
127.0.0.0/8 or [::1]. A page of any other origin, such as this machine's own
http://192.168.1.5:5173, is rejected with 403: give a key and a secret of your
own to serve it. Other users of the machine can see --secret in the list of
processes, but not the variable.

${REACH}

Examples:
  maravilla-media dev
  maravilla-media dev --port 0 --json
  MARAVILLA_MEDIA_API_KEY=mine \\
  MARAVILLA_MEDIA_API_SECRET="$(openssl rand -hex 32)" \\
    maravilla-media dev --host 0.0.0.0

Exit codes:
  0  ended by Ctrl-C, SIGTERM or SIGHUP, or because its output was closed
  1  could not serve, for example because the port is taken
  2  the command line or a variable is wrong
`;

/** An invalid command line or variable: exit code 2. */
class UsageError extends Error {
  constructor(message, usage = 'maravilla-media dev [options]') {
    super(message);
    this.usage = usage;
  }
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');
const isLoopback = (host) => host === 'localhost' || loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');

/** Parses options and positionals. */
function parse(args, options, usage) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message, usage);
  }
}

async function main(args) {
  if (args[0] === 'dev') return dev(args.slice(1));
  const usage = 'maravilla-media <command> [options]';
  const { values, positionals } = parse(args, { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } }, usage);
  if (values.help) return void process.stdout.write(HELP);
  if (values.version) return void process.stdout.write(`${version}\n`);
  throw new UsageError(positionals.length === 0 ? 'a command is missing: it is dev' : `there is no command ${positionals[0]}: it is dev`, usage);
}

async function dev(args) {
  const text = { type: 'string' };
  const { values, positionals } = parse(args, {
    port: text,
    host: text,
    'rtc-port': text,
    'rtc-address': text,
    'webhook-url': { ...text, multiple: true },
    key: text,
    secret: text,
    log: text,
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });
  if (values.help) return void process.stdout.write(DEV_HELP);
  if (positionals.length > 0) throw new UsageError('dev takes options only');
  const options = resolveOptions(values, process.env);
  requireNode('createPlatform');
  const platform = open(options);
  endOnRequest(platform);
  const url = await platform.media.mediaUrl();
  process.stdout.write(values.json ? `${JSON.stringify(toJson(url, options))}\n` : describe(url, options));
}

/** Resolves options and environment; an option takes precedence over its variable. */
function resolveOptions(values, env) {
  const read = (name) => readProperty(env, name);
  const host = values.host || read('MARAVILLA_MEDIA_HOST') || '127.0.0.1';
  if (isIP(host) === 0 && host !== 'localhost') throw new UsageError('--host (MARAVILLA_MEDIA_HOST) must be an IP address such as 127.0.0.1, or localhost');
  const port = readPort('--port (MARAVILLA_MEDIA_PORT)', values.port || read('MARAVILLA_MEDIA_PORT') || '7880', 0);
  const rtcPort = readPort('--rtc-port (MARAVILLA_MEDIA_RTC_PORT)', values['rtc-port'] || read('MARAVILLA_MEDIA_RTC_PORT') || undefined, 1);
  const rtcAddress = values['rtc-address'] || read('MARAVILLA_MEDIA_RTC_ADDRESS');
  const log = values.log || read('MARAVILLA_MEDIA_LOG');
  if (log && !LOG_LEVELS.includes(log)) throw new UsageError(`--log (MARAVILLA_MEDIA_LOG) must be one of ${LOG_LEVELS.join(', ')}`);
  const webhookUrls = values['webhook-url'] ?? (read('MARAVILLA_MEDIA_WEBHOOK_URLS') || undefined);
  const key = values.key || read('MARAVILLA_MEDIA_API_KEY');
  const secret = values.secret || read('MARAVILLA_MEDIA_API_SECRET');
  if (!key !== !secret) {
    const [has, lacks] = key ? ['--key', '--secret (MARAVILLA_MEDIA_API_SECRET)'] : ['--secret', '--key (MARAVILLA_MEDIA_API_KEY)'];
    throw new UsageError(`${has} needs ${lacks} as well: give both, or neither`);
  }
  const pair = key ? { key, secret } : KNOWN;
  if (pair.secret === KNOWN.secret && !isLoopback(host)) {
    throw new UsageError(`${host} can be reached from other machines, and the development credentials are public: give a --key and a --secret of your own, or no --host`);
  }
  return { host, port, rtcPort, rtcAddress, webhookUrls, log, ...pair };
}

function readPort(name, text, min) {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < min || Number(text) > 65_535) throw new UsageError(`${name} must be a whole number from ${min} to 65535`);
  return Number(text);
}

/** Command-line options by the option names that createPlatform's messages use. */
const FLAGS = { host: '--host', port: '--port', rtcPort: '--rtc-port', rtcAddress: '--rtc-address', webhookUrls: '--webhook-url', apiKey: '--key', apiSecret: '--secret' };

function open({ host, port, rtcPort, rtcAddress, webhookUrls, log, key, secret }) {
  const env = { NODE_ENV: readProperty(process.env, 'NODE_ENV'), MARAVILLA_MEDIA_LOG: log };
  try {
    return createPlatform({ provider: 'embedded', host, port, rtcPort, rtcAddress, webhookUrls, apiKey: key, apiSecret: secret, env });
  } catch (error) {
    // An error with a cause is not the command line's: the addon could not be loaded.
    if (!isMediaError(error) || error.cause !== undefined) throw error;
    throw new UsageError(error.message.replaceAll(/\boption (\w+)/g, (all, name) => FLAGS[name] ?? all));
  }
}

/** Keeps the process alive until a signal, or until its output is closed; then closes the engine. */
function endOnRequest(platform) {
  // The engine does not keep the process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  let closing;
  const end = () => (closing ??= platform.close().then(() => clearInterval(alive), fail));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (closing !== undefined) process.exit(128 + constants.signals[signal]);
      void end();
    });
  }
  process.stdout.on('error', (error) => {
    if (error.code !== 'EPIPE') process.exitCode = 1;
    void end();
  });
}

function toJson(url, { host, key }) {
  const port = Number(new URL(url).port) || 80;
  return { url, httpUrl: url.replace('ws', 'http'), host, port, apiKey: key, pid: process.pid };
}

function describe(url, { key, secret }) {
  // A secret of the user's own is not printed, because terminals and logs keep what they show.
  const isKnown = secret === KNOWN.secret;
  const quoted = /^[\w.:/-]*$/.test(key) ? key : `'${key}'`;
  return `The embedded engine serves on ${url}
Its API key is ${key}, its secret ${isKnown ? 'the development secret "secret"' : 'the one you gave'}.

To point an app at it, paste these lines into its .env${isKnown ? '' : ', and put that secret into the last one'}:

LIVEKIT_URL=${url}
LIVEKIT_API_KEY=${quoted}
LIVEKIT_API_SECRET=${isKnown ? secret : ''}

To join a room, mint a token with getPlatform().media.generateToken or
livekit-server-sdk, and connect with it and livekit-client.

${REACH}

Ctrl-C ends it, and its rooms.
`;
}

function fail(error) {
  if (error instanceof UsageError) {
    process.stderr.write(`maravilla-media: ${error.message}\nUsage: ${error.usage}\nAdd --help for more.\n`);
    process.exit(2);
  }
  const isExpected = isMediaError(error);
  process.stderr.write(`maravilla-media: ${isExpected ? error.message : error.stack}\n`);
  if (isExpected && error.operation === 'mediaUrl') process.stderr.write('With --port 0 it takes any free port.\n');
  process.exit(1);
}

// The output was closed, as by `| head`: exits without a stack.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
main(process.argv.slice(2)).catch(fail);
