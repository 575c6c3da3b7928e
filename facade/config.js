'use strict';

const { isRecord } = require('./arguments.js');
const { MediaError } = require('./errors.js');
const { findMisspelt, guard } = require('./misspelling.js');
const { requireNode } = require('./native.js');
const { PROVIDERS, RANGES } = require('./providers.js');

const FIELDS = ['provider', ...new Set(Object.values(PROVIDERS).flatMap(({ variables }) => Object.keys(variables)))];
const OPTIONS = [...FIELDS, 'env', 'devServerUrl', 'tenant'];
// Short names are near to too much that an app may well pass, such as `ttl` and `dev`.
const MISSPELT_OPTIONS = guard(Object.fromEntries(OPTIONS.map((name) => [name, name.length > 5 ? 2 : 1])));

/**
 * What options and environment say, before it is judged: for each field its value, whether code gave it, and its name
 * as the reader knows it. `known` is the provider where neither names one.
 */
function readOptions(operation, options = {}, environment = undefined, known = 'livekit') {
  if (!isRecord(options)) throw invalid(operation, 'options must be an object');
  for (const key in options) {
    const near = OPTIONS.includes(key) ? undefined : findMisspelt(key, MISSPELT_OPTIONS);
    if (near !== undefined) throw invalid(operation, `option ${key} is not known: did you mean ${near}?`);
  }
  if (options.env !== undefined && !isRecord(options.env)) throw invalid(operation, 'option env must be an object');
  const env = options.env ?? environment ?? {};
  const settings = {};
  let variables = { provider: 'MARAVILLA_MEDIA_PROVIDER' };
  for (const field of FIELDS) {
    const setting = readSetting(operation, field, options[field], variables[field], env);
    if (setting !== undefined) settings[field] = setting;
    // The first field says whose variables are read for all others.
    if (field === 'provider') ({ variables } = providerOf(setting?.value ?? known));
  }
  // Where no environment is read, whether this is production is still a fact of the process.
  const { NODE_ENV } = options.env ?? process.env;
  return { settings, isProduction: NODE_ENV === 'production' };
}

function readSetting(operation, field, option, variable, env) {
  if (option !== undefined && option !== '') {
    const type = field in RANGES ? 'number' : 'string';
    if (typeof option !== type) throw invalid(operation, `option ${field} must be a ${type}`);
    return { value: option, inCode: true, label: `option ${field}` };
  }
  const value = variable === undefined ? undefined : env[variable];
  return value === undefined || value === '' ? undefined : { value: String(value), inCode: false, label: variable };
}

function providerOf(name) {
  return Object.hasOwn(PROVIDERS, name) ? PROVIDERS[name] : PROVIDERS.none;
}

/** The first field that `options` give and an earlier reading has differently, or `undefined`. */
function difference(operation, { settings: before }, options) {
  const { settings: after } = readOptions(operation, options, undefined, before.provider?.value);
  return Object.keys(after).find((field) => String(before[field]?.value ?? '') !== String(after[field].value));
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

function chosenName({ provider, ...settings }, fault) {
  if (provider !== undefined) {
    if (!Object.hasOwn(PROVIDERS, provider.value)) fault(`${provider.label} must be livekit, embedded or none`, 'provider');
    return provider.value;
  }
  if (settings.url || settings.apiUrl || settings.apiKey || settings.apiSecret) return 'livekit';
  const stray = ['host', 'port', 'publicUrl'].find((field) => settings[field]);
  if (stray !== undefined) fault(`option ${stray} is for the embedded engine: set option provider to 'embedded' as well`, stray);
  return 'none';
}

/** Once in the process: this outlives hot reload, and threads that are started later know it. */
function warnOfProduction() {
  const { getEnvironmentData, setEnvironmentData } = require('node:worker_threads');
  const code = 'MARAVILLA_EMBEDDED_IN_PRODUCTION';
  if (getEnvironmentData(code)) return;
  setEnvironmentData(code, true);
  warn('the embedded media engine runs in production: its rooms live and die with this process, and no other process sees them', code);
}

function warn(message, code) {
  process.emitWarning(message, { type: 'MaravillaWarning', code });
}

function invalid(operation, message) {
  return new MediaError('INVALID_CONFIG', message, { operation });
}

module.exports = { chooseProvider, difference, readOptions };
