'use strict';

// What every provider must do, seen from real clients.

const { expectPlain } = require('./support/plain.js');
const { startCaller, startClients } = require('./support/processes.js');
const { providers } = require('./support/providers.js');
const { pause, until } = require('./support/wait.js');

/** @typedef {import('../../index.js').MediaParticipantInfo} Participant */

/** How long to look for what must not come, after what must has come. */
const GRACE_MS = 500;

describe.each(providers)('rooms on $name', ({ start }) => {
  /** @type {import('./support/providers.js').Running} */
  let server;
  /** @type {Awaited<ReturnType<typeof startClients>>} */
  let clients;
  /** @type {import('../../index.js').MediaService} */
  let media;

  beforeAll(async () => {
    [server, clients] = await Promise.all([start(), startClients()]);
    media = server.open();
  }, 30_000);
  afterAll(async () => {
    await clients?.stop();
    await server?.stop();
  });

  afterEach(() => clients.leaveAll());

  /** Joins a room by a token made for it. @param {string} room @param {string} identity @param {Partial<Participant>} [more] */
  async function join(room, identity, more) {
    return clients.join(await media.generateToken(room, { identity, name: '', ...more }));
  }

  const namesOf = (/** @type {{ name: string }[]} */ rooms) => rooms.map((room) => room.name);
  const isListed = async (/** @type {string} */ room) => namesOf(await media.listRooms()).includes(room);

  describe('a room', () => {
    test('is given back as it was made', async () => {
      const before = Date.now();
      const room = await media.createRoom('made', { maxParticipants: 7 });
      expect(room).toEqual({ name: 'made', numParticipants: 0, maxParticipants: 7, createdAt: expect.any(Number), active: true });
      expect(room.createdAt).toBeGreaterThan(before - 1000);
      expect(room.createdAt).toBeLessThan(Date.now() + 1000);
      expect(await media.listRooms()).toContainEqual(room);
    });

    test('has no limits of its own without settings', async () => {
      expect(await media.createRoom('plain')).toMatchObject({ maxParticipants: 0, active: true });
    });

    test('that is live comes back unchanged when it is created again', async () => {
      const first = await media.createRoom('again', { maxParticipants: 3, emptyTimeoutSecs: 60, metadata: 'first' });
      const ann = await join('again', 'ann');
      const again = await media.createRoom('again', { maxParticipants: 9, emptyTimeoutSecs: 1, departureTimeoutSecs: 1, metadata: 'second' });
      expect({ ...again, numParticipants: 0 }).toEqual(first);
      const bob = await join('again', 'bob');
      for (const client of [ann, bob]) {
        expect(client.joined).toMatchObject({ roomMetadata: 'first', emptyTimeout: 60, departureTimeout: 60 });
      }
      expect(ann.events.seen('disconnected')).toEqual([]);
    });

    test('that is not there is deleted with success', async () => {
      expect(await media.deleteRoom('never made')).toBeUndefined();
      await media.createRoom('twice');
      await media.deleteRoom('twice');
      expect(await media.deleteRoom('twice')).toBeUndefined();
    });

    test('is gone once deleteRoom has resolved, and its name is free', async () => {
      await media.createRoom('gone', { maxParticipants: 3 });
      await media.deleteRoom('gone');
      expect(await isListed('gone')).toBe(false);
      expect(await media.createRoom('gone', { maxParticipants: 4 })).toMatchObject({ maxParticipants: 4 });
    });

    test('takes no more than maxParticipants', async () => {
      await media.createRoom('full', { maxParticipants: 2 });
      await join('full', 'one');
      const two = await join('full', 'two');
      await expect(join('full', 'three')).rejects.toThrow();
      await two.leave();
      await until(async () => (await media.listParticipants('full')).length === 1);
      await join('full', 'three');
    });

    test('created and deleted many times over ends as the last call says', async () => {
      for (const last of ['create', 'delete']) {
        const calls = Array.from({ length: 20 }, (_, index) => {
          const creates = (index % 2 === 0) === (last === 'delete');
          return creates ? media.createRoom('contended') : media.deleteRoom('contended');
        });
        await Promise.all(calls);
        expect(await isListed('contended')).toBe(last === 'create');
        if (last === 'create') await join('contended', 'ann');
      }
    });
  });

  describe('a name', () => {
    const names = ['huddle:1', 'a#b', 'a/b/../c', 'a b', ' at the edges ', '😀 👩‍👩‍👧', '%2F?x=1&y="<\\', 'é'.repeat(128), 'a'.repeat(256)];

    test.each(names)('can be %j, of a room and of a participant', async (name) => {
      expect(await media.createRoom(name)).toMatchObject({ name });
      expect(await isListed(name)).toBe(true);
      const client = await join(name, name, { name });
      expect(client.joined).toMatchObject({ room: name, self: { identity: name, name } });
      expect(await media.listParticipants(name)).toMatchObject([{ identity: name, name }]);
      await media.removeParticipant(name, name);
      expect(await client.next('disconnected')).toBe('PARTICIPANT_REMOVED');
      await media.deleteRoom(name);
      expect(await isListed(name)).toBe(false);
    });
  });

  describe('listRooms', () => {
    test('sorts by name and gives plain objects', async () => {
      const names = ['sort b', 'sort a', 'sort 10', 'sort 9', 'sort ￮', 'sort 😀', 'sort Z'];
      await Promise.all(names.map((name) => media.createRoom(name)));
      const rooms = await media.listRooms();
      expect(namesOf(rooms).filter((name) => name.startsWith('sort '))).toEqual([...names].sort());
      expect(namesOf(rooms)).toEqual(namesOf(rooms).sort());
      expectPlain(rooms);
      for (const room of rooms) {
        expect(Object.keys(room).sort()).toEqual(['active', 'createdAt', 'maxParticipants', 'name', 'numParticipants']);
      }
      expectPlain(await media.createRoom('sort a'));
    });
  });

  describe('answers', () => {
    test('pass through what frameworks hand to a browser', async () => {
      const caller = await startCaller(server.options);
      try {
        const minted = (await caller.run('generateToken', 'carried', { identity: 'ann', name: 'Ann', attributes: { a: 'b' } })).value;
        expect(await caller.carry()).toEqual([minted, minted]);
        const ann = await clients.join(minted);
        await ann.publish('camera');
        for (const [method, ...args] of [['createRoom', 'carried'], ['listRooms'], ['listParticipants', 'carried']]) {
          const { value } = await caller.run(method, ...args);
          expect(await caller.carry()).toEqual([value, value]);
        }
      } finally {
        await caller.stop();
      }
    });
  });

  describe('prefixes', () => {
    test('keep two tenants apart, also where one begins as the other does', async () => {
      const [one, ten] = [server.open({ roomPrefix: 't1:' }), server.open({ roomPrefix: 't10:' })];
      expect(await one.createRoom('huddle', { maxParticipants: 1 })).toMatchObject({ name: 'huddle', maxParticipants: 1 });
      expect(await ten.createRoom('huddle', { maxParticipants: 10 })).toMatchObject({ name: 'huddle', maxParticipants: 10 });
      await ten.createRoom('more');
      expect(await one.listRooms()).toMatchObject([{ name: 'huddle', maxParticipants: 1 }]);
      expect(await ten.listRooms()).toMatchObject([{ name: 'huddle', maxParticipants: 10 }, { name: 'more' }]);
      expect(namesOf(await media.listRooms())).toEqual(expect.arrayContaining(['t1:huddle', 't10:huddle', 't10:more']));

      const ann = await clients.join(await one.generateToken('huddle', { identity: 'ann', name: 'Ann' }));
      expect(ann.joined.room).toBe('t1:huddle');
      expect(await one.listParticipants('huddle')).toMatchObject([{ identity: 'ann' }]);
      expect(await ten.listParticipants('huddle')).toEqual([]);
      await expect(ten.removeParticipant('huddle', 'ann')).rejects.toMatchObject({ code: 'PARTICIPANT_NOT_FOUND' });

      await ten.deleteRoom('huddle');
      expect(await one.listRooms()).toMatchObject([{ name: 'huddle' }]);
      expect(ann.events.seen('disconnected')).toEqual([]);
      await one.deleteRoom('huddle');
      expect(await ann.next('disconnected')).toBe('ROOM_DELETED');
      expect(await ten.listRooms()).toMatchObject([{ name: 'more' }]);
    });
  });

  describe('permissions', () => {
    const all = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
      identity: `may ${bits & 1 ? 'publish' : '-'} ${bits & 2 ? 'subscribe' : '-'} ${bits & 4 ? 'data' : '-'}`,
      may: { canPublish: (bits & 1) !== 0, canSubscribe: (bits & 2) !== 0, canPublishData: (bits & 4) !== 0 },
    }));
    const identities = (/** @type {(may: typeof all[0]['may']) => boolean} */ holds) =>
      all.filter(({ may }) => holds(may)).map(({ identity }) => identity).sort();

    test('hold in all combinations for who really tries', async () => {
      const watcher = await join('matrix', 'watcher');
      const sid = await watcher.publish('microphone');
      const joined = await Promise.all(all.map(async ({ identity, may }) => ({ identity, may, client: await join('matrix', identity, may) })));
      for (const { may, client } of joined) expect(client.joined.permission).toMatchObject(may);

      for (const { may, client } of joined) if (may.canSubscribe) await client.next('trackSubscribed', (track) => track.sid === sid);
      await Promise.all(joined.map(({ identity, client }) => client.sendData(identity)));
      // Those who may not are first, so that the others' tracks come after. LiveKit never answers them.
      for (const { may, client } of joined) if (!may.canPublish) void client.publish('camera').catch(() => {});
      await Promise.all(joined.filter(({ may }) => may.canPublish).map(({ client }) => client.publish('camera')));

      const seen = { published: new Set(), data: new Set() };
      for (const _ of identities((may) => may.canPublish)) seen.published.add((await watcher.next('trackSubscribed')).identity);
      for (const _ of identities((may) => may.canPublishData)) seen.data.add((await watcher.next('data')).text);
      await pause(GRACE_MS);
      for (const { identity } of watcher.events.seen('trackSubscribed')) seen.published.add(identity);
      for (const { text } of watcher.events.seen('data')) seen.data.add(text);

      expect([...seen.published].sort()).toEqual(identities((may) => may.canPublish));
      expect([...seen.data].sort()).toEqual(identities((may) => may.canPublishData));
      for (const { may, client } of joined) if (!may.canSubscribe) expect(client.events.seen('trackSubscribed')).toEqual([]);

      const listed = new Map((await media.listParticipants('matrix')).map((participant) => [participant.identity, participant]));
      for (const { identity, may } of all) {
        expect(listed.get(identity)).toMatchObject(may);
        expect(listed.get(identity)?.tracks).toHaveLength(may.canPublish ? 1 : 0);
      }
    });

    test('are all given where none is named', async () => {
      const ann = await join('default', 'ann');
      const bob = await join('default', 'bob', { canPublish: undefined, canSubscribe: undefined, canPublishData: undefined });
      for (const client of [ann, bob]) {
        expect(client.joined.permission).toEqual({
          canPublish: true,
          canSubscribe: true,
          canPublishData: true,
          canUpdateMetadata: false,
          hidden: false,
        });
      }
      const [sid] = await Promise.all([ann.publish('camera'), bob.sendData('from bob')]);
      expect(await bob.next('trackSubscribed')).toEqual({ identity: 'ann', sid, kind: 'video' });
      expect(await ann.next('data')).toMatchObject({ text: 'from bob' });
    });

    test('to send data do not follow the one to publish', async () => {
      const mute = await join('data', 'mute', { canPublish: false });
      const ann = await join('data', 'ann');
      await mute.sendData('heard', 'chat');
      expect(await ann.next('data')).toEqual({ identity: 'mute', text: 'heard', topic: 'chat' });
    });

    test('can name the only sources that may be published', async () => {
      const ann = await join('sources', 'ann', { canPublishSources: ['camera', 'screen_share_audio'] });
      const camera = await ann.publish('camera');
      const sound = await ann.publish('screen_share_audio');
      void ann.publish('microphone').catch(() => {});
      await pause(GRACE_MS);
      const [{ tracks }] = await media.listParticipants('sources');
      expect(tracks).toHaveLength(2);
      expect(tracks).toEqual(
        expect.arrayContaining([
          { sid: camera, source: 'camera', kind: 'video', muted: false },
          { sid: sound, source: 'screen_share_audio', kind: 'audio', muted: false },
        ]),
      );
    });

    test('to change one’s own name are given only when named', async () => {
      const free = await join('rename', 'free', { name: 'old', canUpdateOwnMetadata: true });
      const bound = await join('rename', 'bound', { name: 'old' });
      expect([free, bound].map((client) => client.joined.permission.canUpdateMetadata)).toEqual([true, false]);
      await Promise.all([free.rename('new'), bound.rename('new')]);
      expect(await bound.next('nameChanged')).toEqual({ identity: 'free', name: 'new' });
      expect(await media.listParticipants('rename')).toMatchObject([
        { identity: 'bound', name: 'old' },
        { identity: 'free', name: 'new' },
      ]);
    });
  });

  describe('a participant', () => {
    test('is seen by others with its name, metadata and attributes', async () => {
      const ann = { identity: 'ann', name: 'Ann 😀', metadata: '{"role":"host"}', attributes: { team: 'blue', 'a:b': '' } };
      await join('seen', 'ann', ann);
      const bob = await join('seen', 'bob');
      expect(bob.joined.others).toEqual([ann]);
      expect((await media.listParticipants('seen'))[0]).toMatchObject(ann);
    });

    test('that is hidden sees others and is not seen', async () => {
      const ghost = await join('haunted', 'ghost', { hidden: true });
      const before = await join('haunted', 'before');
      // LiveKit tells of those who publish at once, and of others seconds later.
      await before.publish('microphone');
      expect(await ghost.next('participantConnected')).toMatchObject({ identity: 'before' });
      const after = await join('haunted', 'after');
      expect(after.joined.others).toMatchObject([{ identity: 'before' }]);
      await after.publish('microphone');
      await before.next('participantConnected', ({ identity }) => identity === 'after');
      expect(before.joined.others).toEqual([]);
      expect(before.events.seen('participantConnected')).toEqual([]);
    });

    test('that joins a second time ends its first connection', async () => {
      const first = await join('twin', 'ann');
      const second = await join('twin', 'ann');
      expect(await first.next('disconnected')).toBe('DUPLICATE_IDENTITY');
      expect(await media.listParticipants('twin')).toMatchObject([{ identity: 'ann' }]);
      expect(second.events.seen('disconnected')).toEqual([]);
    });

    test('is disconnected when its room is deleted', async () => {
      const everyone = await Promise.all(['ann', 'bob'].map((identity) => join('closing', identity)));
      await media.deleteRoom('closing');
      for (const client of everyone) expect(await client.next('disconnected')).toBe('ROOM_DELETED');
      expect(await media.listParticipants('closing')).toEqual([]);
    });

    test('that was removed is disconnected, and can come back with the same token', async () => {
      const minted = await media.generateToken('removal', { identity: 'ann', name: 'Ann' });
      const ann = await clients.join(minted);
      const bob = await join('removal', 'bob');
      expect(await media.removeParticipant('removal', 'ann')).toBeUndefined();
      expect(await ann.next('disconnected')).toBe('PARTICIPANT_REMOVED');
      expect(await media.listParticipants('removal')).toMatchObject([{ identity: 'bob' }]);
      const again = await clients.join(minted);
      expect(again.joined.others).toMatchObject([{ identity: 'bob' }]);
      expect(bob.events.seen('disconnected')).toEqual([]);
    });

    test('that is not there cannot be removed', async () => {
      const failure = { code: 'PARTICIPANT_NOT_FOUND', operation: 'removeParticipant', retryable: false };
      await media.createRoom('nobody');
      await expect(media.removeParticipant('nobody', 'ann')).rejects.toMatchObject(failure);
      await expect(media.removeParticipant('no room', 'ann')).rejects.toMatchObject(failure);
    });
  });

  describe('listParticipants', () => {
    test('is empty for a room that is empty or not there', async () => {
      await media.createRoom('empty');
      expect(await media.listParticipants('empty')).toEqual([]);
      expect(await media.listParticipants('no such room')).toEqual([]);
    });

    test('gives those in the room with their tracks, sorted by identity', async () => {
      const identities = ['b', 'a', '10', '9', '￮', '😀'];
      const before = Date.now();
      const joined = await Promise.all(identities.map((identity) => join('crowd', identity)));
      const [bob] = joined;
      const [camera, microphone] = [await bob.publish('camera'), await bob.publish('microphone')];
      await bob.mute(microphone);
      const listed = await until(async () => {
        const crowd = await media.listParticipants('crowd');
        const isSettled = crowd.every(({ state }) => state === 'active') && crowd.some(({ tracks }) => tracks.some(({ muted }) => muted));
        return isSettled && crowd;
      });
      expect(listed.map(({ identity }) => identity)).toEqual([...identities].sort());
      for (const participant of listed) {
        expect(participant).toEqual({
          identity: expect.any(String),
          name: '',
          state: 'active',
          joinedAt: expect.any(Number),
          metadata: '',
          attributes: {},
          canPublish: true,
          canSubscribe: true,
          canPublishData: true,
          tracks: expect.any(Array),
        });
        expect(participant.joinedAt).toBeGreaterThanOrEqual(before);
        expect(participant.joinedAt).toBeLessThanOrEqual(Date.now());
      }
      const tracks = listed.find(({ identity }) => identity === 'b')?.tracks;
      expect(tracks).toHaveLength(2);
      expect(tracks).toEqual(
        expect.arrayContaining([
          { sid: camera, source: 'camera', kind: 'video', muted: false },
          { sid: microphone, source: 'microphone', kind: 'audio', muted: true },
        ]),
      );
      expectPlain(listed);
    });
  });
});
