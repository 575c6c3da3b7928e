'use strict';

// What the server API tells of participants and changes about them, and who hears of it.

const { expectedOf, deviates } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { send } = require('../support/server.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { ask, dials, gather, join, newRoom, server } = session;

/** A call of the server API, whatever comes of it. @param {string} method @param {Record<string, any>} message */
async function tries(method, message) {
  const video = { roomAdmin: true, room: message.room, destinationRoom: message.destination_room };
  const { status, body } = await send(server, { title: method, method, message, token: { video }, expected: { status: 200 } }, message.room);
  return { status, ...JSON.parse(body.toString()) };
}

/** @param {string} room @param {string} identity */
const get = (room, identity) => ask('GetParticipant', { room, identity });

test('a participant is told as it is', async () => {
  const room = newRoom();
  const claims = { name: 'Ann', metadata: 'about me', attributes: { mood: 'good' } };
  const ann = await join({ room, identity: 'ann', claims, grants: { canPublishSources: ['camera'] } });
  const told = {
    sid: ann.me.sid,
    identity: 'ann',
    state: 'ACTIVE',
    ...claims,
    kind: 'STANDARD',
    is_publisher: false,
    permission: { can_subscribe: true, can_publish: true, can_publish_data: true, can_publish_sources: ['CAMERA'], hidden: false },
  };
  await eventually('ann is told', () => get(room, 'ann'), (participant) => expect(participant).toMatchObject(told));
  const { participants } = await ask('ListParticipants', { room });
  expect(participants).toMatchObject([told]);
});

test('a client that leaves before its media is connected, and joins again, is announced once', async () => {
  const room = newRoom();
  const ben = await dials({ room, identity: 'ben' });
  await dials({ room, identity: 'cleo' });
  // livekit-server announces participants without tracks in batches, every 3 s. Right after a batch there is enough time for the steps below.
  await ben.isTold('cleo', {});
  const first = await dials({ room, identity: 'ann' });
  await first.hears('join');
  // React's StrictMode mounts a component, unmounts it at once and mounts it again.
  first.leaves();
  await first.isClosed();
  const ann = await join({ room, identity: 'ann' });
  await ben.isTold('ann', { sid: ann.me.sid, state: 2 });
  const updates = ben.all('update').flatMap(({ participants }) => participants);
  const sids = updates.filter(({ identity }) => identity === 'ann').map(({ sid }) => sid);
  expect(new Set(sids)).toEqual(new Set([ann.me.sid]));
});

test('a participant that does not connect its media is announced within seconds, as is its departure', async () => {
  const room = newRoom();
  const ben = await dials({ room, identity: 'ben' });
  const ann = await dials({ room, identity: 'ann' });
  const { participant } = await ann.hears('join');
  await ben.isTold('ann', { sid: participant.sid, state: 1 });
  ann.leaves();
  await ben.isTold('ann', { sid: participant.sid, state: 3 });
});

test('a client that joins receives a participant that is not announced yet, and its departure', async () => {
  const room = newRoom();
  const ann = await dials({ room, identity: 'ann' });
  const { participant } = await ann.hears('join');
  const ben = await dials({ room, identity: 'ben' });
  const { otherParticipants } = await ben.hears('join');
  expect(otherParticipants).toMatchObject([{ identity: 'ann', sid: participant.sid, state: 1 }]);
  ann.leaves();
  await ben.isTold('ann', { sid: participant.sid, state: 3 });
});

test('whoever has not connected its media is told, too', async () => {
  const room = newRoom();
  const ann = await dials({ room, identity: 'ann' });
  const { participant } = await ann.hears('join');
  const told = await eventually('ann is told', () => get(room, 'ann'), ({ state }) => expect(state).toBe('JOINED'));
  expect(told).toMatchObject({ sid: participant.sid });
});

test('its name, metadata and attributes change for all, and what is not named stays', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const first = { name: 'Ann', metadata: 'first', attributes: { mood: 'good', hand: 'up' } };
  expect(await ask('UpdateParticipant', { room, identity: 'ann', ...first })).toMatchObject({ identity: 'ann', ...first });
  await ask('UpdateParticipant', { room, identity: 'ann', attributes: { hand: '', foot: 'down' } });
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

test('the metadata of the room changes for all', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  const ben = await dials({ room, identity: 'ben' });
  expect(await ask('UpdateRoomMetadata', { room, metadata: 'about us' })).toMatchObject({ name: room, metadata: 'about us' });
  await ann.notes('roomMetadataChanged about us');
  await ben.hears('roomUpdate', { room: { name: room, metadata: 'about us' } });
});

test('a track is muted for all, and only its publisher may unmute it', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const { sid } = await ann.speaks();
  await ben.notes('trackSubscribed ann voice');
  const track = { room, identity: 'ann', track_sid: sid };
  expect(await tries('MutePublishedTrack', { ...track, muted: true })).toMatchObject({ status: 200, track: { sid, muted: true } });
  await ann.notes('trackMuted ann voice');
  await ben.notes('trackMuted ann voice');
  expect((await get(room, 'ann')).tracks).toMatchObject([{ sid, muted: true }]);
  expect(await tries('MutePublishedTrack', { ...track, muted: false })).toMatchObject({ status: 412, code: 'failed_precondition' });
  expect(await tries('MutePublishedTrack', { ...track, track_sid: 'TR_none', muted: true })).toMatchObject({ status: 200, track: null });
});

test('what it is sent can be taken from it, and given again', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  const { sid } = await ann.speaks();
  await ben.hears('ann');
  await ask('UpdateSubscriptions', { room, identity: 'ben', track_sids: [sid], subscribe: false });
  await ben.hearsNothing('ann');
  const participant_tracks = [{ participant_sid: ann.me.sid, track_sids: [sid] }];
  await ask('UpdateSubscriptions', { room, identity: 'ben', participant_tracks, subscribe: true });
  await ben.hears('ann');
});

test.each(['ForwardParticipant', 'MoveParticipant'])('%s is not implemented', async (method) => {
  const room = newRoom();
  await dials({ room, identity: 'ann' });
  const moved = await tries(method, { room, identity: 'ann', destination_room: newRoom() });
  expect(moved).toMatchObject({ status: 500, code: 'unknown', msg: expect.stringContaining('not implemented') });
});

test('whoever is hidden sees the others and is not seen, but told', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  const hidden = await join({ room, identity: 'hidden', grants: { hidden: true, canUpdateOwnMetadata: true } });
  await ann.speaks();
  await hidden.notes('trackSubscribed ann voice');
  await hidden.me.updateMetadata('not yours');
  await hidden.sends('anonymous', 'hello');
  await ann.receives('anonymous', ['hello']);
  expect(ann.inbox).toMatchObject([{ from: undefined }]);
  const [ben] = await gather(room, 'ben');
  await ann.notes('participantConnected ben');
  for (const { room: seen, events } of [ann, ben]) {
    expect([...seen.remoteParticipants.keys()]).not.toContain('hidden');
    expect(events.filter((event) => event.includes('hidden'))).toEqual([]);
  }
  expect(await get(room, 'hidden')).toMatchObject({ identity: 'hidden', permission: { hidden: true } });
});

test('nobody is told of who is not there', async () => {
  const room = newRoom();
  await dials({ room, identity: 'ann' });
  const { status, error } = expectedOf(deviates('a participant who is not there', 'is answered for at once'), session.kind);
  expect(await tries('MutePublishedTrack', { room, identity: 'nobody', track_sid: 'TR_none', muted: true })).toMatchObject({
    status,
    code: error?.code,
  });
});
