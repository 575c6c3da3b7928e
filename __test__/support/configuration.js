'use strict';

// For tests of options and environment: restores the environment after each test, and collects the warnings of the process.

const { setEnvironmentData } = require('node:worker_threads');
const { clearPlatformCache } = require('../../index.js');
const { readToken } = require('./token.js');

// The warning that no provider is set appears once per process, so its tests run in child processes.
setEnvironmentData('MARAVILLA_NO_PROVIDER', true);

const SHARED = {
  provider: 'MARAVILLA_MEDIA_PROVIDER',
  roomPrefix: 'MARAVILLA_MEDIA_ROOM_PREFIX',
  tokenTtlSecs: 'MARAVILLA_MEDIA_TOKEN_TTL_SECS',
  timeoutMs: 'MARAVILLA_MEDIA_TIMEOUT_MS',
};

/** The variable of each option, for each provider. */
const VARIABLES = {
  livekit: {
    ...SHARED,
    url: 'LIVEKIT_URL',
    apiUrl: 'LIVEKIT_API_URL',
    apiKey: 'LIVEKIT_API_KEY',
    apiSecret: 'LIVEKIT_API_SECRET',
  },
  embedded: {
    ...SHARED,
    host: 'MARAVILLA_MEDIA_HOST',
    port: 'MARAVILLA_MEDIA_PORT',
    publicUrl: 'MARAVILLA_MEDIA_PUBLIC_URL',
    rtcPort: 'MARAVILLA_MEDIA_RTC_PORT',
    rtcAddress: 'MARAVILLA_MEDIA_RTC_ADDRESS',
    webhookUrls: 'MARAVILLA_MEDIA_WEBHOOK_URLS',
    apiKey: 'MARAVILLA_MEDIA_API_KEY',
    apiSecret: 'MARAVILLA_MEDIA_API_SECRET',
  },
};

/** The variables for those fields. @param {Record<string, unknown>} fields @param {'livekit' | 'embedded'} [provider] */
const variables = (fields, provider = 'livekit') =>
  Object.fromEntries(Object.entries(fields).map(([field, value]) => [VARIABLES[provider][field], String(value)]));

const setEnv = (fields, provider) => Object.assign(process.env, variables(fields, provider));

const before = { ...process.env };
/** @type {jest.SpyInstance} */
let warn;

beforeEach(() => {
  warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  clearPlatformCache();
  delete globalThis.platform;
  delete globalThis.__maravilla_platform;
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  warn.mockRestore();
});

/** Messages of the warnings in the current test. */
const warnings = () => warn.mock.calls.map(([warning]) => String(warning?.message ?? warning));

const KEY_AND_SECRET = { apiKey: 'APIkey', apiSecret: 'secret-nine-lives' };
/** A complete configuration of LiveKit's provider. */
const WHOLE = { ...KEY_AND_SECRET, url: 'wss://rooms.example' };
const ann = { identity: 'ann', name: 'Ann' };

/** A token for Ann: its claims, the token itself and the URL. @param {import('../../index.js').MediaService} media */
async function claimsOf(media) {
  const { token, url } = await media.generateToken('room', ann);
  return { token, url, ...readToken(token).claims };
}

module.exports = { KEY_AND_SECRET, VARIABLES, WHOLE, ann, claimsOf, setEnv, variables, warnings };
