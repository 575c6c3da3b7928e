'use strict';

// Misspelt names of permissions, settings and options.

require('./support/environment.js');
const { ann, rejectionOf, withOptions } = require('./support/argument-calls.js');
const { FaultServer } = require('./support/fault-server.js');
const { mediaAt } = require('./support/media.js');
const { listening } = require('./support/sockets.js');

/** @type {FaultServer} */
let server;
/** @type {import('../index.js').MediaService} */
let media;
/** Ports that this process listens on before the first call. */
let before;

beforeAll(async () => {
  server = await FaultServer.start();
  media = mediaAt(server.url);
  before = listening();
});

afterAll(() => server.close());

describe('a misspelt restriction', () => {
  const restrictions = { canPublish: 2, canSubscribe: 2, canPublishData: 2, canPublishSources: 2, hidden: 1, ttlSecs: 1 };

  /** Keys that differ from `name` by one deletion, insertion or substitution, or in case and separators. */
  function misspellings(name) {
    const keys = new Set([name.toLowerCase(), name.toUpperCase(), name.replaceAll(/[A-Z]/g, '_$&').toLowerCase(), name.replaceAll(/[A-Z]/g, '-$&'), `_${name}`]);
    for (let i = 0; i <= name.length; i += 1) {
      const [before, after] = [name.slice(0, i), name.slice(i)];
      keys.add(`${before}x${after}`).add(`${before}${after.slice(1)}`).add(`${before}é${after.slice(1)}`).add(`${before}${after.charAt(0)}${after}`);
    }
    return [...keys].filter((key) => !(key in restrictions));
  }

  test.each(Object.entries(restrictions))('%s: every misspelling is INVALID_ARGUMENT, and the message names the key and a restriction', async (name, edits) => {
    const keys = misspellings(name);
    // Two edits: the second one at the first letter, where typos are least likely.
    if (edits === 2) keys.push(...keys.map((key) => `q${key}`), `${name.slice(0, -2)}`, `${name.slice(1)}s`);
    for (const key of keys.filter((each) => !(each in restrictions))) {
      const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [key]: false });
      expect([key, error.code, error.operation]).toEqual([key, 'INVALID_ARGUMENT', 'generateToken']);
      expect(error.message).toContain(JSON.stringify(key).slice(1, -1));
      expect(Object.keys(restrictions).some((each) => error.message.replace(key, '').includes(each))).toBe(true);
    }
  });

  test.each([
    ['canPublsh', 'canPublish'],
    ['can_publish', 'canPublish'],
    ['CanPublish', 'canPublish'],
    ['canPublishDat', 'canPublishData'],
    ['can-publish-data', 'canPublishData'],
    ['canSubscirbe', 'canSubscribe'],
    ['canPublishSource', 'canPublishSources'],
    ['Hidden', 'hidden'],
    ['hiden', 'hidden'],
    ['ttlSec', 'ttlSecs'],
    ['ttl_secs', 'ttlSecs'],
  ])('%s: the message names the key and the intended field %s', async (key, near) => {
    const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, [key]: false });
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain(`participant.${key}`);
    expect(error.message.replace(`participant.${key}`, '')).toContain(near);
  });

  test('a key with a line break is shown on one line', async () => {
    const error = await rejectionOf((participant) => media.generateToken('room', participant), { ...ann, 'canPublish\n': false });
    expect(error.message).not.toContain('\n');
  });

  test.each([
    ['maxParticipant', 'maxParticipants'],
    ['maxparticipants', 'maxParticipants'],
    ['max_participants', 'maxParticipants'],
    ['emptyTimeoutSec', 'emptyTimeoutSecs'],
    ['emptyTimeoutsecs', 'emptyTimeoutSecs'],
    ['departureTimeoutSec', 'departureTimeoutSecs'],
  ])('settings.%s is INVALID_ARGUMENT in createRoom and generateToken, and the message names %s', async (key, near) => {
    const settings = { [key]: 1 };
    for (const error of [
      await rejectionOf((value) => media.createRoom('room', value), settings),
      await rejectionOf((value) => media.generateToken('room', { ...ann, roomSettings: value }), settings),
    ]) {
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.message).toContain(near);
    }
  });

  test.each([
    ['timeoutMS', 'timeoutMs'],
    ['timeout', 'timeoutMs'],
    ['timeout_ms', 'timeoutMs'],
    ['signals', 'signal'],
    ['Signal', 'signal'],
  ])('options.%s is INVALID_ARGUMENT for every method, and the message names %s', async (key, near) => {
    for (const call of Object.values(withOptions)) {
      const error = await rejectionOf((options) => call(options, media), { [key]: 1 });
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.message).toContain(near);
    }
  });

  test('is rejected on a class instance, on a prototype, and with an undefined value', async () => {
    class Guest {
      identity = 'ann';
      name = 'Ann';
      canPublsh = undefined;
    }
    expect((await rejectionOf((guest) => media.generateToken('room', guest), new Guest())).code).toBe('INVALID_ARGUMENT');
    const inherited = Object.assign(Object.create({ canPublsh: false }), ann);
    expect((await rejectionOf((guest) => media.generateToken('room', guest), inherited)).code).toBe('INVALID_ARGUMENT');
  });

  test('is never sent, and starts nothing', () => {
    expect(server.connections).toBe(0);
    expect(listening()).toEqual(before);
  });
});
