'use strict';

// Participants in the room service, and the updates that other participants receive.

const { expectedOf, deviates } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { send } = require('../support/server.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { callApi, connectSignalling, joinAll, join, newRoom, server } = session;

/** Calls the room service, and accepts any status. @param {string} method @param {Record<string, any>} message */
async function tryApi(method, message) {
  const video = { roomAdmin: true, room: message.room, destinationRoom: message.destination_room };
  const { status, body } = await send(server, { title: method, method, message, token: { video }, expected: { status: 200 } }, message.room);
  return { status, ...JSON.parse(body.toString()) };
}

/** @param {string} room @param {string} identity */
const get = (room, identity) => callApi('GetParticipant', { room, identity });

test('GetParticipant and ListParticipants respond with the attributes and permissions of the token', async () => {
  const room = newRoom();
  const claims = { name: 'Ann', metadata: 'about me', attributes: { mood: 'good' } };
  const ann = await join({ room, identity: 'ann', claims, grants: { canPublishSources: ['camera'] } });
  const info = {
    sid: ann.me.sid,
    identity: 'ann',
    state: 'ACTIVE',
    ...claims,
    kind: 'STANDARD',
    is_publisher: false,
    permission: { can_subscribe: true, can_publish: true, can_publish_data: true, can_publish_sources: ['CAMERA'], hidden: false },
  };
  await eventually('ann is active', () => get(room, 'ann'), (participant) => expect(participant).toMatchObject(info));
  const { participants } = await callApi('ListParticipants', { room });
  expect(participants).toMatchObject([info]);
});

test('a client that leaves before its media is connected, and joins again, is announced once', async () => {
  const room = newRoom();
  const ben = await connectSignalling({ room, identity: 'ben' });
  await connectSignalling({ room, identity: 'cleo' });
  // livekit-server announces participants without tracks in batches, every 3 s. Right after a batch there is enough time for the steps below.
  await ben.receivesInfo('cleo', {});
  const first = await connectSignalling({ room, identity: 'ann' });
  await first.receives('join');
  // React's StrictMode mounts a component, unmounts it at once and mounts it again.
  first.leave();
  await first.isClosed();
  const ann = await join({ room, identity: 'ann' });
  await ben.receivesInfo('ann', { sid: ann.me.sid, state: 2 });
  const updates = ben.all('update').flatMap(({ participants }) => participants);
  const sids = updates.filter(({ identity }) => identity === 'ann').map(({ sid }) => sid);
  expect(new Set(sids)).toEqual(new Set([ann.me.sid]));
});

test('a participant that does not connect its media is announced within seconds, as is its departure', async () => {
  const room = newRoom();
  const ben = await connectSignalling({ room, identity: 'ben' });
  const ann = await connectSignalling({ room, identity: 'ann' });
  const { participant } = await ann.receives('join');
  await ben.receivesInfo('ann', { sid: participant.sid, state: 1 });
  ann.leave();
  await ben.receivesInfo('ann', { sid: participant.sid, state: 3 });
});

test('a client that joins receives a participant that is not announced yet, and its departure', async () => {
  const room = newRoom();
  const ann = await connectSignalling({ room, identity: 'ann' });
  const { participant } = await ann.receives('join');
  const ben = await connectSignalling({ room, identity: 'ben' });
  const { otherParticipants } = await ben.receives('join');
  expect(otherParticipants).toMatchObject([{ identity: 'ann', sid: participant.sid, state: 1 }]);
  ann.leave();
  await ben.receivesInfo('ann', { sid: participant.sid, state: 3 });
});

test('GetParticipant responds with a participant that has not connected its media', async () => {
  const room = newRoom();
  const ann = await connectSignalling({ room, identity: 'ann' });
  const { participant } = await ann.receives('join');
  const info = await eventually('ann has joined', () => get(room, 'ann'), ({ state }) => expect(state).toBe('JOINED'));
  expect(info).toMatchObject({ sid: participant.sid });
});

test('UpdateParticipant changes name, metadata and attributes for all, and keeps those not given', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const first = { name: 'Ann', metadata: 'first', attributes: { mood: 'good', hand: 'up' } };
  expect(await callApi('UpdateParticipant', { room, identity: 'ann', ...first })).toMatchObject({ identity: 'ann', ...first });
  await callApi('UpdateParticipant', { room, identity: 'ann', attributes: { hand: '', foot: 'down' } });
  const last = { name: 'Ann', metadata: 'first', attributes: { mood: 'good', foot: 'down' } };
  for (const { identity, room: seen, me } of [ann, ben]) {
    const look = async () => (identity === 'ann' ? me : seen.remoteParticipants.get('ann'));
    const check = (participant) => {
      const { name, metadata, attributes } = participant ?? {};
      expect({ name, metadata, attributes }).toEqual(last);
    };
    await eventually(`${identity} sees ann`, look, check);
  }
  expect(await get(room, 'ann')).toMatchObject(last);
});

test('UpdateRoomMetadata changes the metadata for all participants', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  const ben = await connectSignalling({ room, identity: 'ben' });
  expect(await callApi('UpdateRoomMetadata', { room, metadata: 'about us' })).toMatchObject({ name: room, metadata: 'about us' });
  await ann.hasEvent('roomMetadataChanged about us');
  await ben.receives('roomUpdate', { room: { name: room, metadata: 'about us' } });
});

test('MutePublishedTrack mutes a track for all, and cannot unmute it', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const { sid } = await ann.publishAudio();
  await ben.hasEvent('trackSubscribed ann voice');
  const track = { room, identity: 'ann', track_sid: sid };
  expect(await tryApi('MutePublishedTrack', { ...track, muted: true })).toMatchObject({ status: 200, track: { sid, muted: true } });
  await ann.hasEvent('trackMuted ann voice');
  await ben.hasEvent('trackMuted ann voice');
  expect((await get(room, 'ann')).tracks).toMatchObject([{ sid, muted: true }]);
  expect(await tryApi('MutePublishedTrack', { ...track, muted: false })).toMatchObject({ status: 412, code: 'failed_precondition' });
  expect(await tryApi('MutePublishedTrack', { ...track, track_sid: 'TR_none', muted: true })).toMatchObject({ status: 200, track: null });
});

test('UpdateSubscriptions unsubscribes a participant from a track, and subscribes it again', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  const { sid } = await ann.publishAudio();
  await ben.receivesAudioOf('ann');
  await callApi('UpdateSubscriptions', { room, identity: 'ben', track_sids: [sid], subscribe: false });
  await ben.receivesNoAudioOf('ann');
  const participant_tracks = [{ participant_sid: ann.me.sid, track_sids: [sid] }];
  await callApi('UpdateSubscriptions', { room, identity: 'ben', participant_tracks, subscribe: true });
  await ben.receivesAudioOf('ann');
});

test.each(['ForwardParticipant', 'MoveParticipant'])('%s is not implemented', async (method) => {
  const room = newRoom();
  await connectSignalling({ room, identity: 'ann' });
  const moved = await tryApi(method, { room, identity: 'ann', destination_room: newRoom() });
  expect(moved).toMatchObject({ status: 500, code: 'unknown', msg: expect.stringContaining('not implemented') });
});

test('a hidden participant receives the others, and is visible in the room service only', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  const hidden = await join({ room, identity: 'hidden', grants: { hidden: true, canUpdateOwnMetadata: true } });
  await ann.publishAudio();
  await hidden.hasEvent('trackSubscribed ann voice');
  await hidden.me.updateMetadata('not yours');
  await hidden.send('anonymous', 'hello');
  await ann.receives('anonymous', ['hello']);
  expect(ann.inbox).toMatchObject([{ from: undefined }]);
  const [ben] = await joinAll(room, 'ben');
  await ann.hasEvent('participantConnected ben');
  for (const { room: seen, events } of [ann, ben]) {
    expect([...seen.remoteParticipants.keys()]).not.toContain('hidden');
    expect(events.filter((event) => event.includes('hidden'))).toEqual([]);
  }
  expect(await get(room, 'hidden')).toMatchObject({ identity: 'hidden', permission: { hidden: true } });
});

test('MutePublishedTrack does not find an unknown participant in a room with others', async () => {
  const room = newRoom();
  await connectSignalling({ room, identity: 'ann' });
  const { status, error } = expectedOf(deviates('unknown participant', 'responds at once'), session.kind);
  expect(await tryApi('MutePublishedTrack', { room, identity: 'unknown', track_sid: 'TR_none', muted: true })).toMatchObject({
    status,
    code: error?.code,
  });
});
