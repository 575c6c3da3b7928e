'use strict';

// For tests of options and environment: each test gets the environment as it was, and a spy on the process's warnings.

const { setEnvironmentData } = require('node:worker_threads');
const { clearPlatformCache } = require('../../index.js');

// The warning that no provider is set appears once per process, so its tests run in processes of their own.
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

/** The warnings so far, as texts. */
const warnings = () => warn.mock.calls.map(([warning]) => String(warning?.message ?? warning));

module.exports = { VARIABLES, setEnv, variables, warnings };
