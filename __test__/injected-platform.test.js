'use strict';

// Platforms that the host injects as a global.

require('./support/environment.js');
const { clearPlatformCache, createPlatform, getPlatform } = require('../index.js');
const { WHOLE, setEnv, variables, warnings } = require('./support/configuration.js');
const { failureIn } = require('./support/failure.js');

describe.each(['platform', '__maravilla_platform'])('a platform injected as globalThis.%s', (name) => {
  const inject = (platform) => {
    globalThis[name] = platform;
    return platform;
  };

  test('is returned unchanged', () => {
    const injected = inject({ kv: { get: () => 'value' }, auth: {} });
    expect(getPlatform()).toBe(injected);
    expect(getPlatform().kv.get()).toBe('value');
    expect(getPlatform()).not.toHaveProperty('media');
  });

  test('keeps its own media, whatever is configured', () => {
    const media = { own: true };
    const injected = inject({ media });
    setEnv(WHOLE);
    expect(getPlatform()).toBe(injected);
    expect(getPlatform().media).toBe(media);
    clearPlatformCache();
    expect(injected.media).toBe(media);
  });

  test('keeps its own media of a getter', () => {
    const media = { own: true };
    class Injected {
      get media() {
        return media;
      }
    }
    inject(new Injected());
    expect(getPlatform(WHOLE).media).toBe(media);
  });

  test.each([
    ['none', () => ({ kv: 1 })],
    ['undefined', () => ({ kv: 1, media: undefined })],
    ['null', () => ({ kv: 1, media: null })],
    ['undefined from a getter of its class', () => new (class { kv = 1; get media() { return undefined; } })()],
    ['none, and it is a function', () => Object.assign(() => {}, { kv: 1 })],
  ])('gets the configured media if its own is %s', async (_, make) => {
    const injected = inject(make());
    const platform = getPlatform(WHOLE);
    expect(platform).toBe(injected);
    expect(platform.kv).toBe(1);
    expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(platform.media);
  });

  test.each([
    ['frozen', () => Object.freeze({ kv: { get: () => 'value' } })],
    ['sealed', () => Object.seal({ kv: { get: () => 'value' }, media: undefined })],
    ['not extensible', () => Object.preventExtensions({ kv: { get: () => 'value' } })],
    ['read-only without media', () => Object.defineProperty({ kv: { get: () => 'value' } }, 'media', { value: undefined })],
  ])('that is %s is wrapped with the configured media, and not changed', async (_, make) => {
    const injected = inject(make());
    const platform = getPlatform(WHOLE);
    expect(platform.kv.get()).toBe('value');
    expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(platform.media);
    expect(injected.media).toBeUndefined();
    clearPlatformCache();
    expect(getPlatform({ provider: 'none' }).media).toBeUndefined();
  });

  test('that is frozen keeps methods with private fields', () => {
    class Injected {
      #secret = 'value';
      constructor() {
        Object.freeze(this);
      }
      get() {
        return this.#secret;
      }
    }
    inject(new Injected());
    expect(getPlatform(WHOLE).get()).toBe('value');
  });

  describe.each([
    ['in code', (provider) => getPlatform({ provider, env: variables(WHOLE) })],
    ['in MARAVILLA_MEDIA_PROVIDER', (provider) => getPlatform({ env: variables({ ...WHOLE, provider }) })],
  ])('that has media, with a provider %s', (_, open) => {
    const own = { own: true };
    class Injected {
      kv = 1;
      get media() {
        return own;
      }
    }

    test.each([
      ['a field', () => ({ kv: 1, media: own })],
      ["its class's getter", () => new Injected()],
      ['a getter of its own', () => ({ kv: 1, get media() { return own; } })],
      ['read-only', () => Object.defineProperty({ kv: 1 }, 'media', { value: own })],
      ['frozen', () => Object.freeze({ kv: 1, media: own })],
    ])('has the media of that provider until the cache is cleared: %s', async (__, make) => {
      const injected = inject(make());
      const platform = open('livekit');
      expect(await platform.media.mediaUrl()).toBe(WHOLE.url);
      expect(platform.kv).toBe(1);
      expect(open('livekit')).toBe(platform);
      expect(getPlatform().media).toBe(platform.media);
      clearPlatformCache();
      expect(injected.media).toBe(own);
      expect(getPlatform()).toBe(injected);
      expect(getPlatform().media).toBe(own);
    });

    test('has no media if the provider is none', () => {
      const injected = inject({ kv: 1, media: own });
      expect(open('none').media).toBeUndefined();
      expect(getPlatform().kv).toBe(1);
      clearPlatformCache();
      expect(injected).toEqual({ kv: 1, media: own });
    });
  });

  test('that has media has none if the provider is misspelt, and there is a warning', () => {
    inject({ media: { own: true } });
    setEnv({ ...WHOLE, provider: 'livekitt' });
    expect(getPlatform().media).toBeUndefined();
    expect(warnings()).toHaveLength(1);
  });

  test('that the host replaces is replaced, with the options of the earlier call', async () => {
    inject({ name: 'first' });
    const first = getPlatform(WHOLE);
    inject({ name: 'second' });
    const second = getPlatform();
    expect([first.name, second.name]).toEqual(['first', 'second']);
    expect(await second.media.mediaUrl()).toBe(WHOLE.url);
    expect(getPlatform()).toBe(second);
    expect(first).toEqual({ name: 'first' });
  });

  test('that is injected after the first call is returned afterwards', () => {
    expect(getPlatform()).toEqual({});
    const injected = inject({ kv: 1 });
    expect(getPlatform()).toBe(injected);
    delete globalThis[name];
    expect(getPlatform()).toEqual({});
  });

  test('that getPlatform() returned is returned again', () => {
    setEnv(WHOLE);
    const platform = inject(getPlatform());
    const { media } = platform;
    expect(getPlatform()).toBe(platform);
    expect(getPlatform().media).toBe(media);
    setEnv({ ...WHOLE, url: 'wss://other.example' });
    expect(getPlatform().media).not.toBe(media);
  });

  test('loses the configured media when the cache is cleared', () => {
    const injected = inject({ kv: 1 });
    getPlatform(WHOLE);
    clearPlatformCache();
    expect(injected).toEqual({ kv: 1 });
    expect(getPlatform({ provider: 'none' })).toBe(injected);
    expect(injected.media).toBeUndefined();
  });

  test('does not suppress errors for invalid options', () => {
    inject({ kv: 1 });
    expect(failureIn(() => getPlatform({ ...WHOLE, url: 'not a url' })).code).toBe('INVALID_CONFIG');
    expect(failureIn(() => getPlatform({ apiKye: 'x' })).code).toBe('INVALID_CONFIG');
  });

  test('is ignored by createPlatform', () => {
    inject({ kv: 1 });
    expect(createPlatform(WHOLE)).not.toHaveProperty('kv');
  });

  test.each([0, 1, '', 'text', true, null, undefined])('is ignored if it is %j', (value) => {
    inject(value);
    expect(getPlatform()).toEqual({});
  });
});

test('globalThis.platform overrides globalThis.__maravilla_platform', () => {
  globalThis.platform = { name: 'platform' };
  globalThis.__maravilla_platform = { name: '__maravilla_platform' };
  expect(getPlatform().name).toBe('platform');
});
