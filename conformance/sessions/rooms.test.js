'use strict';

// Rooms with people in them: how they come to be, how long they last, and how people go.

const { experienceOf } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { ask, dials, gather, join, newRoom, tokenOf } = session;

const SLOW_MS = 60_000;
/** livekit-server looks once a second for rooms that are over. */
const LATE_MS = 4_000;
const [DISCONNECT, DUPLICATE_IDENTITY, PARTICIPANT_REMOVED, ROOM_DELETED] = [0, 2, 4, 5];

/** @param {string} room @returns {Promise<Record<string, any>[]>} */
const list = async (room) => (await ask('ListRooms', { names: [room] })).rooms;
/** @param {string} room @param {(rooms: Record<string, any>[]) => void} check @param {{ within?: number }} [time] */
const listed = (room, check, time) => eventually(`${room} is listed`, () => list(room), check, time);

describe('a room', () => {
  test('is made by whoever joins first, as the token says', async () => {
    const room = newRoom();
    const roomConfig = { emptyTimeout: 40, departureTimeout: 30, maxParticipants: 5, metadata: 'about us' };
    await dials({ room, identity: 'ann', claims: { roomConfig } });
    const settings = { empty_timeout: 40, departure_timeout: 30, max_participants: 5, metadata: 'about us' };
    expect(await list(room)).toMatchObject([settings]);
    await dials({ room, identity: 'ben', claims: { roomConfig: { metadata: 'otherwise', maxParticipants: 1 } } });
    expect(await list(room)).toMatchObject([settings]);
  });

  test('keeps what it was made with', async () => {
    const room = newRoom();
    const { sid } = await ask('CreateRoom', { name: room, metadata: 'first' });
    const ann = await dials({ room, identity: 'ann', claims: { roomConfig: { metadata: 'second' } } });
    expect(await ann.hears('join')).toMatchObject({ room: { sid, metadata: 'first' } });
  });

  test(
    'counts who is in it, at once or soon',
    async () => {
      const room = newRoom();
      const within = experienceOf('the number of participants', 'is told within', session.kind);
      const [ann, ben] = await gather(room, 'ann', 'ben');
      await join({ room, identity: 'egress', claims: { kind: 'egress' } });
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 2, num_publishers: 0 }]), { within });
      await ann.speaks();
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 2, num_publishers: 1 }]), { within });
      await ben.leaves();
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 1, num_publishers: 1 }]), { within });
    },
    SLOW_MS,
  );

  test(
    'lasts while somebody is in it, and for its time after the last has left',
    async () => {
      const room = newRoom();
      await ask('CreateRoom', { name: room, empty_timeout: 4, departure_timeout: 1 });
      const [ann] = await gather(room, 'ann');
      // Longer than either of its times.
      const other = newRoom();
      await ask('CreateRoom', { name: other, empty_timeout: 6 });
      await listed(other, (rooms) => expect(rooms).toEqual([]));
      expect(await list(room)).toHaveLength(1);
      const since = Date.now();
      await ann.leaves();
      await listed(room, (rooms) => expect(rooms).toEqual([]));
      expect(Date.now() - since).toBeLessThan(1_000 + LATE_MS);
    },
    SLOW_MS,
  );

  test(
    'has its full time again after each leave',
    async () => {
      const room = newRoom();
      await ask('CreateRoom', { name: room, empty_timeout: 4, departure_timeout: 30 });
      const { sid } = (await list(room))[0];
      const [ann] = await gather(room, 'ann');
      await ann.leaves();
      const other = newRoom();
      await ask('CreateRoom', { name: other, empty_timeout: 6 });
      await listed(other, (rooms) => expect(rooms).toEqual([]));
      const again = await dials({ room, identity: 'ann' });
      expect(await again.hears('join')).toMatchObject({ room: { sid } });
    },
    SLOW_MS,
  );
});

describe('whoever is in a room', () => {
  test('is told when it is deleted, and is out', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann');
    const ben = await dials({ room, identity: 'ben' });
    await ask('DeleteRoom', { room });
    await ann.notes('disconnected ROOM_DELETED');
    expect(await ben.hears('leave')).toMatchObject({ reason: ROOM_DELETED, action: DISCONNECT });
    await ben.isClosed();
    expect(await list(room)).toEqual([]);
  });

  test('joins a deleted room again at once with the same token', async () => {
    const who = { room: newRoom(), identity: 'ann' };
    const token = tokenOf(who);
    const ann = await dials({ ...who, dialling: { token } });
    const { room: first } = await ann.hears('join');
    await ask('DeleteRoom', { room: who.room });
    const again = await dials({ ...who, dialling: { token } });
    const { room: second } = await again.hears('join');
    expect([second.name, second.sid === first.sid]).toEqual([who.room, false]);
    await ann.isClosed();
  });

  test('is told when it is removed, as are the others, and may come back', async () => {
    const room = newRoom();
    const [ann, ben] = await gather(room, 'ann', 'ben');
    await ann.notes('participantConnected ben');
    await ask('RemoveParticipant', { room, identity: 'ben' });
    await ben.notes('disconnected PARTICIPANT_REMOVED');
    await ann.notes('participantDisconnected ben');
    expect((await ask('ListParticipants', { room })).participants).toMatchObject([{ identity: 'ann' }]);
    const again = await dials({ room, identity: 'ben' });
    await again.hears('join');
    await ask('RemoveParticipant', { room, identity: 'ben' });
    expect(await again.hears('leave')).toMatchObject({ reason: PARTICIPANT_REMOVED, action: DISCONNECT });
    await again.isClosed();
  });

  test('has to go when another comes of its identity', async () => {
    const room = newRoom();
    const first = await dials({ room, identity: 'ann' });
    const { participant } = await first.hears('join');
    const second = await join({ room, identity: 'ann' });
    expect(await first.hears('leave')).toMatchObject({ reason: DUPLICATE_IDENTITY, action: DISCONNECT });
    await first.isClosed();
    expect(second.me.sid).not.toBe(participant.sid);
    const { participants } = await ask('ListParticipants', { room });
    expect(participants).toMatchObject([{ identity: 'ann', sid: second.me.sid }]);
  });

  test('is not there for the others when it has come back hidden', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann', 'ben');
    await ann.notes('participantConnected ben');
    await join({ room, identity: 'ben', grants: { hidden: true } });
    await gather(room, 'cleo');
    await ann.notes('participantConnected cleo');
    const isThere = experienceOf('who comes back hidden', 'is there for the others', session.kind);
    expect(ann.room.remoteParticipants.has('ben')).toBe(isThere);
  });

  test('is seen to come and to go, and why', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann');
    const cleo = await dials({ room, identity: 'cleo' });
    const [ben] = await gather(room, 'ben');
    await ann.notes('participantConnected ben');
    await cleo.isTold('ben', { state: 2 });
    await ben.leaves();
    await ann.notes('participantDisconnected ben');
    // DISCONNECTED, CLIENT_INITIATED.
    await cleo.isTold('ben', { state: 3, disconnectReason: 1 });
  });

  test('is gone when only its signalling was there, and that ends', async () => {
    const room = newRoom();
    const [ann] = await gather(room, 'ann');
    const ben = await dials({ room, identity: 'ben' });
    await ben.hears('join');
    ben.socket.terminate();
    const look = async () => (await ask('ListParticipants', { room })).participants.map(({ identity }) => identity);
    await eventually('ben is gone', look, (identities) => expect(identities).toEqual([ann.identity]));
  });
});
