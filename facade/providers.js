'use strict';

// The providers: the variables of each, and what it is opened with. No variable of one ever reaches another.

const VARIABLES = {
  roomPrefix: 'MARAVILLA_MEDIA_ROOM_PREFIX',
  tokenTtlSecs: 'MARAVILLA_MEDIA_TOKEN_TTL_SECS',
  timeoutMs: 'MARAVILLA_MEDIA_TIMEOUT_MS',
};
// Without prototypes, so that no variable name is read from a polluted Object.prototype.
const LIVEKIT = {
  __proto__: null,
  url: 'LIVEKIT_URL',
  apiUrl: 'LIVEKIT_API_URL',
  apiKey: 'LIVEKIT_API_KEY',
  apiSecret: 'LIVEKIT_API_SECRET',
  ...VARIABLES,
};
const EMBEDDED = {
  __proto__: null,
  host: 'MARAVILLA_MEDIA_HOST',
  port: 'MARAVILLA_MEDIA_PORT',
  publicUrl: 'MARAVILLA_MEDIA_PUBLIC_URL',
  rtcPort: 'MARAVILLA_MEDIA_RTC_PORT',
  rtcAddress: 'MARAVILLA_MEDIA_RTC_ADDRESS',
  log: 'MARAVILLA_MEDIA_LOG',
  webhookUrls: 'MARAVILLA_MEDIA_WEBHOOK_URLS',
  apiKey: 'MARAVILLA_MEDIA_API_KEY',
  apiSecret: 'MARAVILLA_MEDIA_API_SECRET',
  ...VARIABLES,
};
const PROVIDERS = {
  livekit: { variables: LIVEKIT, read: readLiveKit },
  embedded: { variables: EMBEDDED, read: readEmbedded },
  none: { variables: { __proto__: null }, read: () => undefined },
};

/** Minimum and maximum of each numeric option. */
const RANGES = { tokenTtlSecs: [1, 2_592_000], timeoutMs: [1, 2_147_483_647], port: [0, 65_535], rtcPort: [1, 65_535] };

/** Levels of the log, from the fewest events to the most. */
const LOG_LEVELS = ['off', 'error', 'warn', 'info', 'debug'];

/** Maximum addresses in `rtcAddress`; more are INVALID_CONFIG, because clients try each pair. The engine offers as many of the machine's own. */
const MAX_RTC_ADDRESSES = 8;

/** Maximum URLs in `webhookUrls`; more are INVALID_CONFIG, because each event is sent to each of them. */
const MAX_WEBHOOK_URLS = 8;

/** Maximum characters of a value in a message. Of a longer one only the length is shown, because it may be a misplaced secret. */
const MAX_VALUE_CHARS = 24;
const show = (value) => (value.length > MAX_VALUE_CHARS ? `a text of ${value.length} characters` : JSON.stringify(value));

function readLiveKit(settings, fault) {
  readCredentials(settings, LIVEKIT, 'LiveKit needs both key and secret', fault, ['provider', 'url', 'apiUrl']);
  const url = readUrl(settings, 'url', fault);
  const apiUrl = settings.apiUrl ? readUrl(settings, 'apiUrl', fault) : url;
  return {
    provider: 'livekit',
    url: url && url.replace(/^http/, 'ws'),
    apiUrl: apiUrl && apiUrl.replace(/^ws/, 'http'),
    ...readShared(settings, fault),
  };
}

function readEmbedded(settings, fault) {
  if (settings.apiKey || settings.apiSecret) {
    readCredentials(settings, EMBEDDED, 'the embedded engine takes both key and secret, or neither for a random pair', fault);
  }
  return {
    provider: 'embedded',
    ...readHost(settings.host, fault),
    port: readNumber(settings, 'port', undefined, fault),
    publicUrl: readUrl(settings, 'publicUrl', fault)?.replace(/^http/, 'ws'),
    rtcPort: readRtcPort(settings, fault),
    rtcAddresses: readAddresses(settings.rtcAddress, fault),
    log: readLog(settings.log, fault),
    webhookUrls: readWebhookUrls(settings.webhookUrls, fault),
    ...readShared(settings, fault),
  };
}

function readShared(settings, fault) {
  return {
    apiKey: settings.apiKey?.value,
    apiSecret: settings.apiSecret?.value,
    roomPrefix: readPrefix(settings.roomPrefix, fault),
    tokenTtlSecs: readNumber(settings, 'tokenTtlSecs', 21_600, fault),
    timeoutMs: readNumber(settings, 'timeoutMs', 10_000, fault),
  };
}

/** Key and secret must both be there; `causes` are further fields that ask for them. */
function readCredentials(settings, variables, why, fault, causes = []) {
  for (const field of ['apiKey', 'apiSecret']) {
    const setting = settings[field];
    if (!setting) fault(`${variables[field]} (option ${field}) is not set: ${why}`, ...causes, 'apiKey', 'apiSecret');
    // A line break from a secret file signs every token wrongly, and nothing later would say why.
    else if (/[\s\p{Cc}]/u.test(setting.value) || !setting.value.isWellFormed()) {
      fault(`${setting.label} holds white space or control characters: give it exactly as it was made`, field);
    }
  }
}

function readUrl(settings, field, fault) {
  const setting = settings[field];
  if (setting === undefined) return undefined;
  // The URL itself is not shown, because it may hold a password.
  const wrong = (why) => fault(`${setting.label} ${why}: give it like wss://example.livekit.cloud or http://127.0.0.1:7880`, field);
  if (!URL.canParse(setting.value)) return wrong('is not a URL');
  const url = new URL(setting.value);
  if (!['ws:', 'wss:', 'http:', 'https:'].includes(url.protocol)) return wrong('is not a ws, wss, http or https URL');
  if (url.username || url.password) return wrong('holds a user name or password, and is handed out to browsers');
  if (url.search || url.hash) return wrong('holds a query or fragment');
  return `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`;
}

/** The address to listen on, and what stands for it in a URL. */
function readHost(setting, fault) {
  // Not given: loopback, or whichever the engine listens on that the process shares.
  if (setting === undefined) return {};
  const host = setting.value === 'localhost' ? '127.0.0.1' : setting.value;
  const { isIP } = require('node:net');
  // A zone (`fe80::1%eth0`) means something on this machine only, so that no URL can hold it.
  if (isIP(host) === 0 || host.includes('%')) {
    fault(`${setting.label}: expected an IP address such as 127.0.0.1, or localhost, got ${show(setting.value)}`, 'host');
    return {};
  }
  const advertised = { '0.0.0.0': () => outerAddress('IPv4'), '[::]': () => outerAddress('IPv6') }[inUrl(host)];
  return { host, advertisedHost: inUrl(advertised?.() ?? host) };
}

/** The port for media. It must differ from the signalling port, because media uses TCP as well. */
function readRtcPort(settings, fault) {
  const rtcPort = readNumber(settings, 'rtcPort', undefined, fault);
  const { port } = settings;
  if (port !== undefined && rtcPort === Number(port.value)) {
    fault(`${settings.rtcPort.label}: ${rtcPort} is ${port.label} already: media needs another port than signalling`, 'rtcPort', 'port');
  }
  return rtcPort;
}

/** Addresses for candidates. Rejects a zone, which is valid on this machine only, and a wildcard, which nothing can connect to. */
function readAddresses(setting, fault) {
  if (setting === undefined) return undefined;
  const { isIP } = require('node:net');
  const addresses = [...new Set(setting.value.split(',').map((address) => address.trim()))];
  const wrong = addresses.find((address) => isIP(address) === 0 || address.includes('%') || ['0.0.0.0', '[::]'].includes(inUrl(address)));
  if (wrong !== undefined) {
    const expected = 'expected IP addresses that clients can reach, separated by commas, such as 203.0.113.7, without port';
    fault(`${setting.label}: ${expected}, got ${show(wrong)}`, 'rtcAddress');
  } else if (addresses.length > MAX_RTC_ADDRESSES) {
    fault(`${setting.label}: expected at most ${MAX_RTC_ADDRESSES} IP addresses, got ${addresses.length}: leave out those that clients need least`, 'rtcAddress');
  }
  return addresses;
}

/** The level of the log; `undefined` leaves it as it is. */
function readLog(setting, fault) {
  if (setting === undefined || LOG_LEVELS.includes(setting.value)) return setting?.value;
  fault(`${setting.label}: expected ${LOG_LEVELS.slice(0, -1).join(', ')} or ${LOG_LEVELS.at(-1)}, got ${show(setting.value)}`, 'log');
  return undefined;
}

/** URLs that receive webhooks. Rejects a user name, which would take the place of the webhook's token. */
function readWebhookUrls(setting, fault) {
  if (setting === undefined) return undefined;
  const urls = [...new Set(setting.value.split(',').map((url) => url.trim()))];
  const parsed = urls.map((url) => (URL.canParse(url) ? new URL(url) : undefined));
  // The URL itself is not shown, because it may hold a secret.
  const wrong = parsed.findIndex((url) => url === undefined || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '' || url.hash !== '');
  if (wrong >= 0) {
    fault(`${setting.label}: expected http or https URLs without user name and fragment, separated by commas, and URL ${wrong + 1} is none`, 'webhookUrls');
  } else if (urls.length > MAX_WEBHOOK_URLS) {
    fault(`${setting.label}: expected at most ${MAX_WEBHOOK_URLS} URLs, got ${urls.length}`, 'webhookUrls');
  }
  return parsed.map(String);
}

const inUrl = (address) => new URL(`http://${address.includes(':') ? `[${address}]` : address}`).hostname;

/** The machine's first address that others can reach, of that family if there is one; loopback if there is none. */
function outerAddress(family) {
  const all = Object.values(require('node:os').networkInterfaces()).flat();
  const outer = all.filter(({ internal, scopeid }) => !internal && !scopeid);
  // A server that listens on :: accepts IPv4 too; one on 0.0.0.0 accepts IPv4 only.
  const reachable = family === 'IPv6' ? outer : outer.filter((each) => each.family === 'IPv4');
  const found = reachable.find((each) => each.family === family) ?? reachable[0];
  return found?.address ?? (family === 'IPv6' ? '::1' : '127.0.0.1');
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

function readNumber(settings, field, byDefault, fault) {
  const setting = settings[field];
  if (setting === undefined) return byDefault;
  const [min, max] = RANGES[field];
  const value = typeof setting.value === 'number' ? setting.value : /^\d+$/.test(setting.value) ? Number(setting.value) : NaN;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  fault(`${setting.label}: expected a whole number from ${min} to ${max}, got ${show(String(setting.value))}`, field);
  return byDefault;
}

module.exports = { LOG_LEVELS, PROVIDERS, RANGES, show };
