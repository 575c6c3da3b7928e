'use strict';

// The behaviour of every provider with clients. rooms.test.js has the tests that need no clients.

const { roomNames } = require('./support/names.js');
const { expectPlain } = require('./support/plain.js');
const { startApp, startClients } = require('./support/processes.js');
const { providers } = require('./support/providers.js');
const { pause, until } = require('./support/wait.js');

/** @typedef {import('../../index.js').MediaParticipantInfo} Participant */

/** Time in which an unexpected event could still arrive after the expected ones. */
const GRACE_MS = 500;

describe.each(providers)('clients on $name', ({ start }) => {
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

  /** Joins with a token of generateToken. @param {string} room @param {string} identity @param {Partial<Participant>} [more] */
  async function join(room, identity, more) {
    return clients.join(await media.generateToken(room, { identity, name: '', ...more }));
  }

  /** Sends until the participant receives: data may be lost while its connection is not established. @param {string} room @param {any} client */
  async function isReachable(room, client) {
    await until(async () => {
      await media.sendData(room, 'knock', { to: [client.joined.self.identity], topic: 'knock' });
      return client.events.all('data').length > 0;
    });
  }

  describe('a room', () => {
    test('keeps its settings when it is created again', async () => {
      await media.createRoom('again', { maxParticipants: 3, emptyTimeoutSecs: 60, metadata: 'first' });
      const ann = await join('again', 'ann');
      await media.createRoom('again', { maxParticipants: 9, emptyTimeoutSecs: 1, departureTimeoutSecs: 1, metadata: 'second' });
      const bob = await join('again', 'bob');
      for (const client of [ann, bob]) {
        expect(client.joined).toMatchObject({ roomMetadata: 'first', emptyTimeout: 60, departureTimeout: 60 });
      }
      expect(ann.events.all('disconnected')).toEqual([]);
    });

    test('rejects a participant past maxParticipants', async () => {
      await media.createRoom('full', { maxParticipants: 2 });
      await join('full', 'one');
      const two = await join('full', 'two');
      await expect(join('full', 'three')).rejects.toThrow();
      await two.leave();
      await until(async () => (await media.listParticipants('full')).length === 1);
      await join('full', 'three');
    });

    test('can be joined after concurrent creations and deletions', async () => {
      await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? media.deleteRoom('contended') : media.createRoom('contended'))));
      // The engine rejects tokens of other servers that were minted in the second of a deletion.
      await until(() => join('contended', 'ann').catch(() => undefined));
    });
  });

  describe('a name', () => {
    test.each(roomNames)('can be %j for a room and a participant', async (name) => {
      await media.createRoom(name);
      const client = await join(name, name, { name });
      expect(client.joined).toMatchObject({ room: name, self: { identity: name, name } });
      expect(await media.listParticipants(name)).toMatchObject([{ identity: name, name }]);
      await media.removeParticipant(name, name);
      expect(await client.next('disconnected')).toBe('PARTICIPANT_REMOVED');
      await media.deleteRoom(name);
    });
  });

  describe('results', () => {
    test('can be serialized by SvelteKit and React Router', async () => {
      const app = await startApp(server.options);
      try {
        const minted = (await app.run('generateToken', 'serialized', { identity: 'ann', name: 'Ann', attributes: { a: 'b' } })).value;
        const ann = await clients.join(minted);
        await ann.publish('camera');
        const value = await until(async () => {
          const [first] = (await app.run('listParticipants', 'serialized')).value;
          return first.tracks.length > 0 && [first];
        });
        expect(await app.serialize()).toEqual([value, value]);
      } finally {
        await app.stop();
      }
    });
  });

  describe('prefixes', () => {
    test('separate the participants of two tenants', async () => {
      const [one, ten] = [server.open({ roomPrefix: 't1:' }), server.open({ roomPrefix: 't10:' })];
      await Promise.all([one, ten].map((tenant) => tenant.createRoom('huddle')));
      const ann = await clients.join(await one.generateToken('huddle', { identity: 'ann', name: 'Ann' }));
      expect(ann.joined.room).toBe('t1:huddle');
      expect(await one.listParticipants('huddle')).toMatchObject([{ identity: 'ann' }]);
      expect(await ten.listParticipants('huddle')).toEqual([]);
      await expect(ten.removeParticipant('huddle', 'ann')).rejects.toMatchObject({ code: 'PARTICIPANT_NOT_FOUND' });
      await ten.deleteRoom('huddle');
      expect(ann.events.all('disconnected')).toEqual([]);
      await one.deleteRoom('huddle');
      expect(await ann.next('disconnected')).toBe('ROOM_DELETED');
    });
  });

  describe('permissions', () => {
    const all = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
      identity: `may ${bits & 1 ? 'publish' : '-'} ${bits & 2 ? 'subscribe' : '-'} ${bits & 4 ? 'data' : '-'}`,
      may: { canPublish: (bits & 1) !== 0, canSubscribe: (bits & 2) !== 0, canPublishData: (bits & 4) !== 0 },
    }));
    const identities = (/** @type {(may: typeof all[0]['may']) => boolean} */ holds) =>
      all.filter(({ may }) => holds(may)).map(({ identity }) => identity).sort();

    test('are enforced in all combinations', async () => {
      const watcher = await join('matrix', 'watcher');
      const sid = await watcher.publish('microphone');
      const joined = await Promise.all(all.map(async ({ identity, may }) => ({ identity, may, client: await join('matrix', identity, may) })));
      for (const { may, client } of joined) expect(client.joined.permission).toMatchObject(may);

      for (const { may, client } of joined) if (may.canSubscribe) await client.next('trackSubscribed', (track) => track.sid === sid);
      await Promise.all(joined.map(({ identity, client }) => client.sendData(identity)));
      // The rejected requests are sent first. LiveKit doesn't respond to them.
      for (const { may, client } of joined) if (!may.canPublish) void client.publish('camera').catch(() => {});
      await Promise.all(joined.filter(({ may }) => may.canPublish).map(({ client }) => client.publish('camera')));

      const seen = { published: new Set(), data: new Set() };
      for (const _ of identities((may) => may.canPublish)) seen.published.add((await watcher.next('trackSubscribed')).identity);
      for (const _ of identities((may) => may.canPublishData)) seen.data.add((await watcher.next('data')).text);
      await pause(GRACE_MS);
      for (const { identity } of watcher.events.all('trackSubscribed')) seen.published.add(identity);
      for (const { text } of watcher.events.all('data')) seen.data.add(text);

      expect([...seen.published].sort()).toEqual(identities((may) => may.canPublish));
      expect([...seen.data].sort()).toEqual(identities((may) => may.canPublishData));
      for (const { may, client } of joined) if (!may.canSubscribe) expect(client.events.all('trackSubscribed')).toEqual([]);

      const listed = new Map((await media.listParticipants('matrix')).map((participant) => [participant.identity, participant]));
      for (const { identity, may } of all) {
        expect(listed.get(identity)).toMatchObject(may);
        expect(listed.get(identity)?.tracks).toHaveLength(may.canPublish ? 1 : 0);
      }
    });

    test('are all granted by default', async () => {
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

    test('to send data are independent of canPublish', async () => {
      const sender = await join('data', 'sender', { canPublish: false });
      const ann = await join('data', 'ann');
      await sender.sendData('hello', 'chat');
      expect(await ann.next('data')).toEqual({ identity: 'sender', text: 'hello', topic: 'chat' });
    });

    test('can restrict the sources to publish', async () => {
      const ann = await join('sources', 'ann', { canPublishSources: ['camera', 'screen_share_audio'] });
      const camera = await ann.publish('camera');
      const sound = await ann.publish('screen_share_audio');
      void ann.publish('microphone').catch(() => {});
      await until(async () => (await media.listParticipants('sources'))[0].tracks.length >= 2);
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

    test('to update the own name are granted only explicitly', async () => {
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
    test('is received by others with its name, metadata and attributes', async () => {
      const ann = { identity: 'ann', name: 'Ann 😀', metadata: '{"role":"host"}', attributes: { team: 'blue', 'a:b': '' } };
      await join('seen', 'ann', ann);
      const bob = await join('seen', 'bob');
      expect(bob.joined.others).toEqual([ann]);
      expect((await media.listParticipants('seen'))[0]).toMatchObject(ann);
    });

    test('that is hidden receives others, and they do not receive it', async () => {
      const hidden = await join('hidden room', 'hidden', { hidden: true });
      const before = await join('hidden room', 'before');
      // LiveKit announces publishers at once, and other participants seconds later.
      await before.publish('microphone');
      expect(await hidden.next('participantConnected')).toMatchObject({ identity: 'before' });
      const after = await join('hidden room', 'after');
      expect(after.joined.others).toMatchObject([{ identity: 'before' }]);
      await after.publish('microphone');
      await before.next('participantConnected', ({ identity }) => identity === 'after');
      expect(before.joined.others).toEqual([]);
      expect(before.events.all('participantConnected')).toEqual([]);
    });

    test('that joins again replaces its first connection', async () => {
      const first = await join('twin', 'ann');
      const second = await join('twin', 'ann');
      expect(await first.next('disconnected')).toBe('DUPLICATE_IDENTITY');
      expect(await media.listParticipants('twin')).toMatchObject([{ identity: 'ann' }]);
      expect(second.events.all('disconnected')).toEqual([]);
    });

    test('is disconnected when its room is deleted', async () => {
      const everyone = await Promise.all(['ann', 'bob'].map((identity) => join('closing', identity)));
      await media.deleteRoom('closing');
      for (const client of everyone) expect(await client.next('disconnected')).toBe('ROOM_DELETED');
      expect(await media.listParticipants('closing')).toEqual([]);
    });

    test('that is removed is disconnected, and can join again with the same token', async () => {
      const minted = await media.generateToken('removal', { identity: 'ann', name: 'Ann' });
      const ann = await clients.join(minted);
      const bob = await join('removal', 'bob');
      expect(await media.removeParticipant('removal', 'ann')).toEqual({ tokensRevoked: false });
      expect(await ann.next('disconnected')).toBe('PARTICIPANT_REMOVED');
      expect(await media.listParticipants('removal')).toMatchObject([{ identity: 'bob' }]);
      const again = await clients.join(minted);
      expect(again.joined.others).toMatchObject([{ identity: 'bob' }]);
      expect(bob.events.all('disconnected')).toEqual([]);
    });
  });

  describe('updateRoom', () => {
    test('sends the metadata to the participants', async () => {
      await media.createRoom('told', { metadata: 'first' });
      const ann = await join('told', 'ann');
      for (const metadata of ['second 😀', '']) {
        await media.updateRoom('told', { metadata });
        expect(await ann.next('roomMetadataChanged')).toBe(metadata);
      }
      expect((await join('told', 'bob')).joined.roomMetadata ?? '').toBe('');
    });
  });

  describe('updateParticipant', () => {
    test('changes only what it names, and returns the participant', async () => {
      const ann = { name: 'Ann', metadata: 'first', attributes: { hand: 'down', seat: '7', mood: 'calm' }, canPublishSources: /** @type {const} */ (['camera']), canUpdateOwnMetadata: true };
      const client = await join('merged', 'ann', ann);
      const bob = await join('merged', 'bob');
      await until(async () => (await media.getParticipant('merged', 'ann'))?.state === 'active');

      const renamed = await media.updateParticipant('merged', 'ann', { name: 'Anna' });
      expect(renamed).toMatchObject({ identity: 'ann', name: 'Anna', metadata: 'first', attributes: ann.attributes, canPublish: true });
      expect(await bob.next('nameChanged')).toEqual({ identity: 'ann', name: 'Anna' });

      await media.updateParticipant('merged', 'ann', { metadata: 'second' });
      expect(await bob.next('metadataChanged')).toEqual({ identity: 'ann', metadata: 'second' });

      const raised = await media.updateParticipant('merged', 'ann', { attributes: { hand: 'up', seat: null, mood: '' } });
      expect(raised).toMatchObject({ name: 'Anna', metadata: 'second', attributes: { hand: 'up' } });
      expect(Object.keys(raised.attributes)).toEqual(['hand']);

      const muted = await media.updateParticipant('merged', 'ann', { canPublishData: false });
      expect(muted).toMatchObject({ canPublish: true, canSubscribe: true, canPublishData: false, attributes: { hand: 'up' } });
      // Permissions that are not named stay: the restriction of sources, and the permission to update the own metadata.
      await client.rename('Me');
      expect(await bob.next('nameChanged')).toEqual({ identity: 'ann', name: 'Me' });
      void client.publish('microphone').catch(() => {});
      const camera = await client.publish('camera');
      await bob.next('trackSubscribed', ({ sid }) => sid === camera);
      await pause(GRACE_MS);
      expect(bob.events.all('trackSubscribed')).toEqual([]);
      expect(await until(async () => (await media.getParticipant('merged', 'ann'))?.tracks.map(({ source }) => source).join())).toBe('camera');
      expectPlain(muted);
    });

    test('without canPublish unpublishes the tracks, and allows them again', async () => {
      const [ann, bob] = [await join('stage', 'ann'), await join('stage', 'bob')];
      const sid = await ann.publish('camera');
      await bob.next('trackSubscribed', (track) => track.sid === sid);
      expect(await media.updateParticipant('stage', 'ann', { canPublish: false })).toMatchObject({ canPublish: false, canSubscribe: true });
      expect(await bob.next('trackUnpublished')).toEqual({ identity: 'ann', sid });
      await media.updateParticipant('stage', 'ann', { canPublish: true });
      const again = await ann.publish('microphone');
      await bob.next('trackSubscribed', (track) => track.sid === again);
    });

    test('in concurrent calls changes every permission that they name', async () => {
      await join('at once', 'ann');
      await until(async () => (await media.getParticipant('at once', 'ann'))?.state === 'active');
      const changes = [{ canPublish: false }, { canSubscribe: false }, { canPublishData: false }];
      await Promise.all(changes.map((change) => media.updateParticipant('at once', 'ann', change)));
      expect(await media.getParticipant('at once', 'ann')).toMatchObject(Object.assign({}, ...changes));
    });
  });

  describe('muteParticipant', () => {
    test('mutes the tracks of the named sources, then all others', async () => {
      const [ann, bob] = [await join('quiet', 'ann'), await join('quiet', 'bob')];
      const [camera, microphone] = [await ann.publish('camera'), await ann.publish('microphone')];
      for (const sid of [camera, microphone]) await bob.next('trackSubscribed', (track) => track.sid === sid);
      const muted = await media.muteParticipant('quiet', 'ann', { sources: ['microphone', 'screen_share'] });
      expect(muted).toEqual([{ sid: microphone, source: 'microphone', kind: 'audio', muted: true }]);
      expect(await bob.next('trackMuted')).toEqual({ identity: 'ann', sid: microphone });
      expect(await media.muteParticipant('quiet', 'ann')).toMatchObject([{ sid: camera, muted: true }]);
      expect(await bob.next('trackMuted')).toEqual({ identity: 'ann', sid: camera });
      expect(await media.muteParticipant('quiet', 'ann')).toEqual([]);
      expect(await media.muteParticipant('quiet', 'bob')).toEqual([]);
      expectPlain(muted);
    });
  });

  describe('sendData', () => {
    test('reaches all participants, or those that it names', async () => {
      const [ann, bob] = [await join('post', 'ann'), await join('post', 'bob')];
      for (const client of [ann, bob]) await isReachable('post', client);
      await media.sendData('post', 'for bob', { to: ['bob', 'nobody'], topic: 'chat' });
      await media.sendData('post', new TextEncoder().encode('for all 😀'), { topic: 'chat' });
      const ofChat = (/** @type {any} */ { topic }) => topic === 'chat';
      expect(await ann.next('data', ofChat)).toMatchObject({ text: 'for all 😀', topic: 'chat' });
      expect(await bob.next('data', ofChat)).toMatchObject({ text: 'for bob' });
      expect(await bob.next('data', ofChat)).toMatchObject({ text: 'for all 😀' });
    });

    test('without reliable reaches a participant, too', async () => {
      const ann = await join('lossy', 'ann');
      await isReachable('lossy', ann);
      // A lossy message may be lost while the lossy channel opens.
      await until(async () => {
        await media.sendData('lossy', 'hello', { topic: 'lossy', reliable: false });
        return ann.events.all('data').some(({ topic }) => topic === 'lossy');
      });
    });
  });

  describe('removeParticipant with revokeTokens', () => {
    test('disconnects, and tokens minted before no longer join on the embedded engine', async () => {
      const minted = await media.generateToken('revoked', { identity: 'ann', name: 'Ann' });
      const ofBob = await media.generateToken('revoked', { identity: 'bob', name: 'Bob' });
      const elsewhere = await media.generateToken('another', { identity: 'ann', name: 'Ann' });
      const ann = await clients.join(minted);
      const { tokensRevoked } = await media.removeParticipant('revoked', 'ann', { revokeTokens: true });
      expect(tokensRevoked).toBe(server.revokes);
      expect(await ann.next('disconnected')).toBe('PARTICIPANT_REMOVED');
      if (tokensRevoked) await expect(clients.join(minted)).rejects.toThrow('401');
      else await clients.join(minted);
      // Tokens of others, for other rooms, and minted later stay valid.
      for (const each of [ofBob, elsewhere]) await clients.join(each);
      await join('revoked', 'ann');
    });
  });

  describe('listParticipants', () => {
    test('returns participants with their tracks, sorted by identity', async () => {
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
