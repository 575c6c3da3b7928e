'use strict';

const { isRecord, nearest } = require('./arguments.js');
const { MediaError } = require('./errors.js');

const VARIABLES = {
  provider: 'MARAVILLA_MEDIA_PROVIDER',
  url: 'LIVEKIT_URL',
  apiUrl: 'LIVEKIT_API_URL',
  apiKey: 'LIVEKIT_API_KEY',
  apiSecret: 'LIVEKIT_API_SECRET',
  roomPrefix: 'MARAVILLA_MEDIA_ROOM_PREFIX',
  tokenTtlSecs: 'MARAVILLA_MEDIA_TOKEN_TTL_SECS',
  timeoutMs: 'MARAVILLA_MEDIA_TIMEOUT_MS',
};
const OPTIONS = [...Object.keys(VARIABLES), 'env', 'devServerUrl', 'tenant'];
const LONG_OPTIONS = OPTIONS.filter((name) => name.length > 5);
const NUMBERS = { tokenTtlSecs: 2_592_000, timeoutMs: 2_147_483_647 };

/**
 * What options and environment say, before it is judged: for each field its value, whether code gave it, and its name
 * as the reader knows it.
 */
function readOptions(operation, options = {}, environment = undefined) {
  if (!isRecord(options)) throw invalid(operation, 'options must be an object');
  for (const key in options) {
    // Short names are near to too much that an app may well pass, such as `ttl` and `dev`.
    const near = OPTIONS.includes(key) ? undefined : (nearest(key, LONG_OPTIONS) ?? nearest(key, OPTIONS, 1));
    if (near !== undefined) throw invalid(operation, `option ${key} is not known: did you mean ${near}?`);
  }
  if (options.env !== undefined && !isRecord(options.env)) throw invalid(operation, 'option env must be an object');
  const env = options.env ?? environment ?? {};
  const settings = {};
  for (const [field, variable] of Object.entries(VARIABLES)) {
    const option = options[field];
    if (option !== undefined && option !== '') {
      const type = field in NUMBERS ? 'number' : 'string';
      if (typeof option !== type) throw invalid(operation, `option ${field} must be a ${type}`);
      settings[field] = { value: option, inCode: true, label: `option ${field}` };
    } else if (env[variable] !== undefined && env[variable] !== '') {
      settings[field] = { value: String(env[variable]), inCode: false, label: variable };
    }
  }
  return settings;
}

/** The first field that a later reading gives and an earlier one has differently, or `undefined`. */
function difference(before, after) {
  return Object.keys(after).find((field) => String(before[field]?.value ?? '') !== String(after[field].value));
}

/**
 * The provider that the settings choose, ready for the core; `undefined` where there is none.
 * A fault in what code said is thrown; one in the environment is a warning and no provider.
 */
function chooseProvider(operation, settings) {
  const faults = [];
  const fault = (message, ...fields) => {
    faults.push({ message, inCode: fields.some((field) => settings[field]?.inCode === true) });
  };
  const config = readProvider(settings, fault);
  if (faults.length === 0) return config;
  const message = faults.map((each) => each.message).join('; ');
  if (faults.some((each) => each.inCode)) throw invalid(operation, message);
  process.emitWarning(`media is off: ${message}`, { type: 'MaravillaWarning', code: 'MARAVILLA_INVALID_CONFIG' });
  return undefined;
}

function readProvider(settings, fault) {
  const provider = settings.provider?.value;
  if (provider === 'none') return undefined;
  if (provider !== undefined && provider !== 'livekit') {
    fault(`${settings.provider.label} must be livekit or none`, 'provider');
    return undefined;
  }
  if (provider === undefined && !settings.url && !settings.apiUrl && !settings.apiKey && !settings.apiSecret) return undefined;

  for (const field of ['apiKey', 'apiSecret']) {
    if (settings[field]) checkCredential(settings[field], field, fault);
    else fault(`${VARIABLES[field]} (option ${field}) is not set: LiveKit needs both key and secret`, 'provider', 'url', 'apiUrl', 'apiKey', 'apiSecret');
  }
  const url = settings.url && readUrl(settings.url, 'url', fault);
  const apiUrl = settings.apiUrl ? readUrl(settings.apiUrl, 'apiUrl', fault) : url;
  return {
    url: url && url.replace(/^http/, 'ws'),
    apiUrl: apiUrl && apiUrl.replace(/^ws/, 'http'),
    apiKey: settings.apiKey?.value,
    apiSecret: settings.apiSecret?.value,
    roomPrefix: readPrefix(settings.roomPrefix, fault),
    tokenTtlSecs: readNumber(settings, 'tokenTtlSecs', 21_600, fault),
    timeoutMs: readNumber(settings, 'timeoutMs', 10_000, fault),
  };
}

function checkCredential(setting, field, fault) {
  // A line break from a secret file signs every token wrongly, and nothing later would say why.
  if (/[\s\p{Cc}]/u.test(setting.value) || !setting.value.isWellFormed()) {
    fault(`${setting.label} holds white space or control characters: give it as LiveKit shows it`, field);
  }
}

function readUrl(setting, field, fault) {
  const wrong = (why) => fault(`${setting.label} ${why}: give it like wss://example.livekit.cloud or http://127.0.0.1:7880`, field);
  if (!URL.canParse(setting.value)) return wrong('is not a URL');
  const url = new URL(setting.value);
  if (!['ws:', 'wss:', 'http:', 'https:'].includes(url.protocol)) return wrong('is not a ws, wss, http or https URL');
  if (url.username || url.password) return wrong('holds a user name or password, and is handed out to browsers');
  if (url.search || url.hash) return wrong('holds a query or fragment');
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`;
}

function readPrefix(setting, fault) {
  const prefix = setting?.value ?? '';
  if (/[\p{L}\p{N}]$/u.test(prefix)) {
    fault(`${setting.label} ends in a letter or digit: end it in a mark such as ':', or a longer prefix would share its rooms`, 'roomPrefix');
  } else if (/\p{Cc}/u.test(prefix) || !prefix.isWellFormed() || Buffer.byteLength(prefix) > 255) {
    fault(`${setting.label} must be at most 255 bytes of text without control characters`, 'roomPrefix');
  }
  return prefix;
}

function readNumber(settings, field, standard, fault) {
  const setting = settings[field];
  if (setting === undefined) return standard;
  const value = typeof setting.value === 'number' ? setting.value : /^\d+$/.test(setting.value) ? Number(setting.value) : NaN;
  if (Number.isInteger(value) && value >= 1 && value <= NUMBERS[field]) return value;
  fault(`${setting.label} must be a whole number from 1 to ${NUMBERS[field]}`, field);
  return standard;
}

function invalid(operation, message) {
  return new MediaError('INVALID_CONFIG', message, { operation });
}

module.exports = { chooseProvider, difference, readOptions };
