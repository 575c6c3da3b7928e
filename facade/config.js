'use strict';

const { describe, isRecord } = require('./arguments.js');
const { MediaError } = require('./errors.js');
const { requireNode } = require('./native.js');
const { isPolluted, readEnvironment, readProperty } = require('./properties.js');
const { PROVIDERS, RANGES, show } = require('./providers.js');

const FIELDS = ['provider', ...new Set(Object.values(PROVIDERS).flatMap(({ variables }) => Object.keys(variables)))];
/** Fields that only the environment sets, because they apply to the whole process. */
const VARIABLES_ONLY = new Set(['log']);
const OPTIONS = [...FIELDS.filter((field) => !VARIABLES_ONLY.has(field)), 'env', 'devServerUrl', 'tenant'];
// Maximum edit distance of a misspelling. It is 1 for short names, which resemble keys that an app may well pass, such as `ttl` and `dev`.
const MISSPELT_OPTIONS = Object.fromEntries(OPTIONS.map((name) => [name, name.length > 5 ? 2 : 1]));
const MISSPELT_PROVIDERS = { livekit: 2, embedded: 2, none: 1 };

// Loaded on demand, because most apps misspell nothing.
const findMisspelt = (text, maxEdits) => require('./misspelling.js').findMisspelt(text, maxEdits);

/**
 * Reads options and environment, unvalidated: for each field its value, whether it was set in code, and its label for messages.
 * `earlier`: a previous reading; its environment, and its fields that were set in code, apply where `options` has none.
 */
function readOptions(operation, options = {}, environment = {}, earlier = undefined) {
  if (!isRecord(options)) throw invalid(operation, `options: expected an object, got ${describe(options)}`);
  for (const key in options) {
    const near = OPTIONS.includes(key) ? undefined : findMisspelt(key, MISSPELT_OPTIONS);
    if (near !== undefined && !isPolluted(options, key)) throw invalid(operation, `option ${JSON.stringify(key).slice(1, -1)}: no such option; did you mean ${near}?`);
  }
  const given = readProperty(options, 'env');
  if (given !== undefined && !isRecord(given)) throw invalid(operation, `option env: expected an object, got ${describe(given)}`);
  const env = given ?? earlier?.env ?? environment;
  // Without a prototype, so that an unset field is not read from a polluted Object.prototype.
  const settings = { __proto__: null };
  let variables = { __proto__: null, provider: 'MARAVILLA_MEDIA_PROVIDER' };
  for (const field of FIELDS) {
    const option = VARIABLES_ONLY.has(field) ? undefined : readProperty(options, field);
    const setting = readOption(operation, field, option) ?? fromCode(earlier?.settings[field]) ?? readVariable(operation, env, variables[field]);
    if (setting !== undefined) settings[field] = setting;
    // The first field says whose variables are read for all others.
    if (field === 'provider') ({ variables } = providerOf(setting?.value ?? 'livekit'));
  }
  // Where no environment is read, whether this is production is still a fact of the process.
  const named = given ?? earlier?.env;
  const mode = named === undefined ? readEnvironment('NODE_ENV') : readFrom(operation, named, 'NODE_ENV');
  return { settings, env, isProduction: mode === 'production' };
}

function readOption(operation, field, value) {
  if (value === undefined || value === '') return undefined;
  if (field === 'webhookUrls' && Array.isArray(value)) return readList(operation, field, value);
  const type = Object.hasOwn(RANGES, field) ? 'number' : 'string';
  if (typeof value !== type) throw invalid(operation, `option ${field}: expected a ${type}, got ${describe(value)}`);
  return { value, inCode: true, label: `option ${field}` };
}

/** A list of strings, as the text that a variable would have. */
function readList(operation, field, value) {
  const texts = Array.from(value);
  const wrong = texts.findIndex((text) => typeof text !== 'string' || text.includes(','));
  if (wrong >= 0) throw invalid(operation, `option ${field}: expected strings without commas, got ${describe(texts[wrong])} at index ${wrong}`);
  return texts.length === 0 ? undefined : { value: texts.join(','), inCode: true, label: `option ${field}` };
}

const fromCode = (setting) => (setting?.inCode ? setting : undefined);

function readVariable(operation, env, variable) {
  const value = variable === undefined ? undefined : readFrom(operation, env, variable);
  return value === undefined || value === '' ? undefined : { value: String(value), inCode: false, label: variable };
}

function readFrom(operation, env, variable) {
  try {
    return readProperty(env, variable);
  } catch (error) {
    // For example, Deno without --allow-env.
    throw new MediaError('INVALID_CONFIG', `${variable} could not be read: ${error?.message}`, { operation, cause: error });
  }
}

function providerOf(name) {
  return Object.hasOwn(PROVIDERS, name) ? PROVIDERS[name] : PROVIDERS.none;
}

/** The fields in which two readings differ, in the order of {@link FIELDS}. */
function differences({ settings: before }, { settings: after }) {
  return FIELDS.filter((field) => String(before[field]?.value ?? '') !== String(after[field]?.value ?? ''));
}

/**
 * The provider that was chosen, ready for the core; `undefined` where there is none.
 * A fault in what code said is thrown; one in the environment is a warning and no provider.
 */
function chooseProvider(operation, { settings, isProduction }) {
  const faults = [];
  const fault = (message, ...fields) => {
    faults.push({ message, inCode: fields.some((field) => settings[field]?.inCode === true) });
  };
  const name = chosenName(settings, fault);
  const provider = providerOf(name);
  if (provider !== PROVIDERS.none) requireNode(operation);
  const config = provider.read(settings, fault);
  if (faults.length === 0) {
    if (name === 'embedded' && isProduction) warnOfProduction();
    return config;
  }
  const message = faults.map((each) => each.message).join('; ');
  if (faults.some((each) => each.inCode)) throw invalid(operation, message);
  warn(`media is off: ${message}`, 'MARAVILLA_INVALID_CONFIG');
  return undefined;
}

function chosenName(settings, fault) {
  const { provider } = settings;
  if (provider !== undefined) {
    if (!Object.hasOwn(PROVIDERS, provider.value)) {
      const near = findMisspelt(provider.value, MISSPELT_PROVIDERS);
      const remedy = near === undefined ? '' : `; did you mean ${near}?`;
      fault(`${provider.label}: expected livekit, embedded or none, got ${show(provider.value)}${remedy}`, 'provider');
    }
    return provider.value;
  }
  if (namesLiveKit(settings)) return 'livekit';
  const stray = ['host', 'port', 'publicUrl', 'rtcPort', 'rtcAddress', 'webhookUrls'].find((field) => settings[field]);
  if (stray !== undefined) fault(`option ${stray} is for the embedded engine: set option provider to 'embedded' as well`, stray);
  return 'none';
}

const namesLiveKit = ({ url, apiUrl, apiKey, apiSecret }) => [url, apiUrl, apiKey, apiSecret].some((setting) => setting !== undefined);

/** Outside production, warns once per process that no provider is set: otherwise media would be off silently. */
function warnIfUnconfigured({ settings, isProduction }) {
  if (isProduction || settings.provider !== undefined || namesLiveKit(settings)) return;
  warnOnce(
    'media is off, because no provider is set: set MARAVILLA_MEDIA_PROVIDER=embedded for rooms in this process, or LIVEKIT_URL, LIVEKIT_API_KEY and ' +
      'LIVEKIT_API_SECRET for a LiveKit server; MARAVILLA_MEDIA_PROVIDER=none ends this warning. A .env file counts only where your framework puts it ' +
      'into process.env, or you pass it as getPlatform({ env })',
    'MARAVILLA_NO_PROVIDER',
  );
}

function warnOfProduction() {
  warnOnce(
    'the embedded media engine runs in production: its rooms live and die with this process, and no other process sees them',
    'MARAVILLA_EMBEDDED_IN_PRODUCTION',
  );
}

/** Warns once per process: environment data survives hot reload, and threads that start later inherit it. */
function warnOnce(message, code) {
  const { getEnvironmentData, setEnvironmentData } = require('node:worker_threads');
  if (getEnvironmentData(code)) return;
  setEnvironmentData(code, true);
  warn(message, code);
}

function warn(message, code) {
  process.emitWarning(message, { type: 'MaravillaWarning', code });
}

function invalid(operation, message) {
  return new MediaError('INVALID_CONFIG', message, { operation });
}

module.exports = { chooseProvider, differences, readOptions, warnIfUnconfigured };
