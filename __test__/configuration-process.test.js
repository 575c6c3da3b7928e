'use strict';

// Loading of the addon and warnings, in child processes: both happen once per process.

require('./support/environment.js');
const { resultOf, runNode } = require('./support/child.js');
const { WHOLE, variables } = require('./support/configuration.js');

const report = `
  const loaded = () => {
    process.report.excludeNetwork = true;
    return process.report.getReport().sharedObjects.some((file) => file.endsWith('.node')) || Object.keys(require.cache).some((file) => /binding\\.js$|\\.node$/.test(file));
  };`;

test.each([
  ['nothing is configured', {}, '{}'],
  ['the provider is none', { ...WHOLE, provider: 'none' }, '{}'],
  ['the configuration is incomplete', { apiKey: 'k' }, '{}'],
  ['a platform with media is injected', WHOLE, '{ injected: true }'],
])('the addon is not loaded if %s', async (_, fields, flags) => {
  const result = await resultOf(
    `${report}
    process.on('warning', () => {});
    if (${flags}.injected) globalThis.platform = { media: {} };
    const { getPlatform, createPlatform } = require(entry);
    const { media } = getPlatform();
    createPlatform();
    console.log(JSON.stringify({ loaded: loaded(), media: media !== undefined }));`,
    { env: variables(fields) },
  );
  expect(result).toEqual({ loaded: false, media: flags !== '{}' });
});

test('the addon is loaded if a provider is configured', async () => {
  const result = await resultOf(
    `${report}
    const before = (require(entry), loaded());
    require(entry).getPlatform();
    console.log(JSON.stringify({ before, after: loaded() }));`,
    { env: variables(WHOLE) },
  );
  expect(result).toEqual({ before: false, after: true });
});

test('an incomplete configuration emits one warning with a name and a code', async () => {
  const warned = await resultOf(
    `const warnings = [];
    process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }));
    const { getPlatform } = require(entry);
    for (let call = 0; call < 5; call += 1) getPlatform();
    setImmediate(() => console.log(JSON.stringify(warnings)));`,
    { env: variables({ apiKey: 'k', url: 'not a url', tokenTtlSecs: 'x' }) },
  );
  expect(warned).toHaveLength(1);
  expect(warned[0]).toMatchObject({ name: 'MaravillaWarning', code: 'MARAVILLA_INVALID_CONFIG' });
  for (const variable of ['LIVEKIT_API_SECRET', 'LIVEKIT_URL', 'MARAVILLA_MEDIA_TOKEN_TTL_SECS']) expect(warned[0].message).toContain(variable);
});

test('a warning does not end the process, and --no-warnings suppresses it', async () => {
  const env = variables({ apiKey: 'k' });
  const script = 'require(entry).getPlatform();';
  const loud = await runNode(script, { env });
  expect(loud.code).toBe(0);
  expect(loud.stderr).toContain('LIVEKIT_API_SECRET');
  const silent = await runNode(script, { env, flags: ['--no-warnings'] });
  expect([silent.code, silent.stderr]).toEqual([0, '']);
});

describe('without a provider', () => {
  const warningsOf = (body, env = {}) =>
    resultOf(
      `const warned = [];
      process.on('warning', ({ name, code, message }) => warned.push({ name, code, message }));
      const { clearPlatformCache, createPlatform, getPlatform } = require(entry);
      ${body}
      setImmediate(() => console.log(JSON.stringify(warned)));`,
      { env },
    );

  test.each([{}, { NODE_ENV: 'development' }, { NODE_ENV: 'test' }])('one warning names the variables that select one: %j', async (env) => {
    const [warned, ...more] = await warningsOf('for (let i = 0; i < 3; i += 1) { getPlatform(); getPlatform({ env: { A: String(i) } }); clearPlatformCache(); }', env);
    expect(more).toEqual([]);
    expect(warned).toMatchObject({ name: 'MaravillaWarning', code: 'MARAVILLA_NO_PROVIDER' });
    for (const part of ['MARAVILLA_MEDIA_PROVIDER=embedded', 'LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'MARAVILLA_MEDIA_PROVIDER=none', '.env']) expect(warned.message).toContain(part);
  });

  test.each([
    ['in production', 'getPlatform();', { NODE_ENV: 'production' }],
    ['if NODE_ENV in env is production', `getPlatform({ env: { NODE_ENV: 'production' } });`, {}],
    ['if the provider is none', 'getPlatform();', { MARAVILLA_MEDIA_PROVIDER: 'none' }],
    ['if the option is none', `getPlatform({ provider: 'none' });`, {}],
    ['if one is configured', 'getPlatform();', variables(WHOLE)],
    ['if a platform is injected', 'globalThis.platform = { kv: 1 }; getPlatform();', {}],
    ['for createPlatform', 'createPlatform(); createPlatform({ env: {} });', {}],
  ])('there is no warning %s', async (_, body, env) => {
    expect(await warningsOf(body, env)).toEqual([]);
  });

  test('an incomplete configuration emits one warning, not two', async () => {
    expect((await warningsOf('getPlatform();', { LIVEKIT_URL: WHOLE.url })).map(({ code }) => code)).toEqual(['MARAVILLA_INVALID_CONFIG']);
  });
});

test.each([
  ['embeded', 'embedded'],
  ['LiveKit', 'livekit'],
  ['Embedded', 'embedded'],
  ['zoom', undefined],
])('a misspelt provider is in the warning, with the intended one: %s', async (provider, near) => {
  const warned = await resultOf(
    `process.on('warning', ({ message }) => console.log(JSON.stringify(message)));
    require(entry).getPlatform();`,
    { env: variables({ provider }) },
  );
  expect(warned).toContain(`"${provider}"`);
  if (near) expect(warned.replace(`"${provider}"`, '')).toContain(near);
});

test('a secret given as the provider is not shown', async () => {
  const secret = 'Zq7secretOfTheSuiteThatMustNeverShow9xK';
  const warned = await resultOf(
    `process.on('warning', ({ message }) => console.log(JSON.stringify(message)));
    require(entry).getPlatform();`,
    { env: variables({ provider: secret }) },
  );
  expect(warned).toContain('MARAVILLA_MEDIA_PROVIDER');
  for (let i = 0; i < secret.length - 6; i += 1) expect(warned).not.toContain(secret.slice(i, i + 6));
});

test('the environment is read by getPlatform(), not at import', async () => {
  const result = await resultOf(
    `const { getPlatform } = require(entry);
    Object.assign(process.env, ${JSON.stringify(variables(WHOLE))});
    getPlatform().media.mediaUrl().then((url) => console.log(JSON.stringify(url)));`,
  );
  expect(result).toBe(WHOLE.url);
});
