'use strict';

// Rooms with participants: creation, lifetime, and how participants leave.

const { expectedInSession } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { callApi, connectSignalling, joinAll, join, newRoom, tokenOf } = session;

const SLOW_MS = 60_000;
/** livekit-server closes empty rooms once a second. */
const LATE_MS = 4_000;
const [DISCONNECT, DUPLICATE_IDENTITY, PARTICIPANT_REMOVED, ROOM_DELETED] = [0, 2, 4, 5];

/** @param {string} room @returns {Promise<Record<string, any>[]>} */
const list = async (room) => (await callApi('ListRooms', { names: [room] })).rooms;
/** @param {string} room @param {(rooms: Record<string, any>[]) => void} check @param {{ within?: number }} [time] */
const listed = (room, check, time) => eventually(`${room} is listed`, () => list(room), check, time);

describe('a room', () => {
  test('is created by the first join, with the roomConfig of its token', async () => {
    const room = newRoom();
    const roomConfig = { emptyTimeout: 40, departureTimeout: 30, maxParticipants: 5, metadata: 'about us' };
    await connectSignalling({ room, identity: 'ann', claims: { roomConfig } });
    const settings = { empty_timeout: 40, departure_timeout: 30, max_participants: 5, metadata: 'about us' };
    expect(await list(room)).toMatchObject([settings]);
    await connectSignalling({ room, identity: 'ben', claims: { roomConfig: { metadata: 'otherwise', maxParticipants: 1 } } });
    expect(await list(room)).toMatchObject([settings]);
  });

  test('keeps its settings when a participant joins with another roomConfig', async () => {
    const room = newRoom();
    const { sid } = await callApi('CreateRoom', { name: room, metadata: 'first' });
    const ann = await connectSignalling({ room, identity: 'ann', claims: { roomConfig: { metadata: 'second' } } });
    expect(await ann.receives('join')).toMatchObject({ room: { sid, metadata: 'first' } });
  });

  test(
    'counts participants and publishers',
    async () => {
      const room = newRoom();
      const within = expectedInSession('participant count', 'updated within ms', session.kind);
      const [ann, ben] = await joinAll(room, 'ann', 'ben');
      await join({ room, identity: 'egress', claims: { kind: 'egress' } });
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 2, num_publishers: 0 }]), { within });
      await ann.publishAudio();
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 2, num_publishers: 1 }]), { within });
      await ben.leave();
      await listed(room, (rooms) => expect(rooms).toMatchObject([{ num_participants: 1, num_publishers: 1 }]), { within });
    },
    SLOW_MS,
  );

  test(
    'stays open while it has participants, and ends departure_timeout after the last leave',
    async () => {
      const room = newRoom();
      await callApi('CreateRoom', { name: room, empty_timeout: 4, departure_timeout: 1 });
      const [ann] = await joinAll(room, 'ann');
      // A room that lasts longer than either timeout: its end shows that both have passed.
      const other = newRoom();
      await callApi('CreateRoom', { name: other, empty_timeout: 6 });
      await listed(other, (rooms) => expect(rooms).toEqual([]));
      expect(await list(room)).toHaveLength(1);
      const since = Date.now();
      await ann.leave();
      await listed(room, (rooms) => expect(rooms).toEqual([]));
      expect(Date.now() - since).toBeLessThan(1_000 + LATE_MS);
    },
    SLOW_MS,
  );

  test(
    'restarts its timeout after each leave',
    async () => {
      const room = newRoom();
      await callApi('CreateRoom', { name: room, empty_timeout: 4, departure_timeout: 30 });
      const { sid } = (await list(room))[0];
      const [ann] = await joinAll(room, 'ann');
      await ann.leave();
      const other = newRoom();
      await callApi('CreateRoom', { name: other, empty_timeout: 6 });
      await listed(other, (rooms) => expect(rooms).toEqual([]));
      const again = await connectSignalling({ room, identity: 'ann' });
      expect(await again.receives('join')).toMatchObject({ room: { sid } });
    },
    SLOW_MS,
  );
});

describe('a participant', () => {
  test('is disconnected when its room is deleted', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann');
    const ben = await connectSignalling({ room, identity: 'ben' });
    await callApi('DeleteRoom', { room });
    await ann.hasEvent('disconnected ROOM_DELETED');
    expect(await ben.receives('leave')).toMatchObject({ reason: ROOM_DELETED, action: DISCONNECT });
    await ben.isClosed();
    expect(await list(room)).toEqual([]);
  });

  test('can join a deleted room again at once with the same token', async () => {
    const options = { room: newRoom(), identity: 'ann' };
    const token = tokenOf(options);
    const ann = await connectSignalling({ ...options, signalling: { token } });
    const { room: first } = await ann.receives('join');
    await callApi('DeleteRoom', { room: options.room });
    const again = await connectSignalling({ ...options, signalling: { token } });
    const { room: second } = await again.receives('join');
    expect([second.name, second.sid === first.sid]).toEqual([options.room, false]);
    await ann.isClosed();
  });

  test('that is removed is disconnected, leaves for the others, and can join again', async () => {
    const room = newRoom();
    const [ann, ben] = await joinAll(room, 'ann', 'ben');
    await ann.hasEvent('participantConnected ben');
    await callApi('RemoveParticipant', { room, identity: 'ben' });
    await ben.hasEvent('disconnected PARTICIPANT_REMOVED');
    await ann.hasEvent('participantDisconnected ben');
    expect((await callApi('ListParticipants', { room })).participants).toMatchObject([{ identity: 'ann' }]);
    const again = await connectSignalling({ room, identity: 'ben' });
    await again.receives('join');
    await callApi('RemoveParticipant', { room, identity: 'ben' });
    expect(await again.receives('leave')).toMatchObject({ reason: PARTICIPANT_REMOVED, action: DISCONNECT });
    await again.isClosed();
  });

  test('is replaced by another one with the same identity', async () => {
    const room = newRoom();
    const first = await connectSignalling({ room, identity: 'ann' });
    const { participant } = await first.receives('join');
    const second = await join({ room, identity: 'ann' });
    expect(await first.receives('leave')).toMatchObject({ reason: DUPLICATE_IDENTITY, action: DISCONNECT });
    await first.isClosed();
    expect(second.me.sid).not.toBe(participant.sid);
    const { participants } = await callApi('ListParticipants', { room });
    expect(participants).toMatchObject([{ identity: 'ann', sid: second.me.sid }]);
  });

  test('that rejoins hidden is removed for the others', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann', 'ben');
    await ann.hasEvent('participantConnected ben');
    await join({ room, identity: 'ben', grants: { hidden: true } });
    await joinAll(room, 'cleo');
    await ann.hasEvent('participantConnected cleo');
    const isListed = expectedInSession('participant that rejoins hidden', 'still listed', session.kind);
    expect(ann.room.remoteParticipants.has('ben')).toBe(isListed);
  });

  test('is announced when it joins and when it leaves, with the reason', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann');
    const cleo = await connectSignalling({ room, identity: 'cleo' });
    const [ben] = await joinAll(room, 'ben');
    await ann.hasEvent('participantConnected ben');
    await cleo.receivesInfo('ben', { state: 2 });
    await ben.leave();
    await ann.hasEvent('participantDisconnected ben');
    // DISCONNECTED, CLIENT_INITIATED.
    await cleo.receivesInfo('ben', { state: 3, disconnectReason: 1 });
  });

  test('without media leaves when its signal connection ends', async () => {
    const room = newRoom();
    const [ann] = await joinAll(room, 'ann');
    const ben = await connectSignalling({ room, identity: 'ben' });
    await ben.receives('join');
    ben.socket.terminate();
    const look = async () => (await callApi('ListParticipants', { room })).participants.map(({ identity }) => identity);
    await eventually('ben has left', look, (identities) => expect(identities).toEqual([ann.identity]));
  });
});
