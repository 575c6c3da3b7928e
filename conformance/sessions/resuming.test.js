'use strict';

// Connections that break, and sessions that resume.

const { FrameMetadataFeature, SimulateScenarioKind } = require('@livekit/rtc-ffi-bindings');
const { expectedInSession } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { callApi, connectSignalling, joinAll, newRoom } = session;
const RESUME_MS = 60_000;
/** `LeaveRequest.Action.RECONNECT`. */
const RECONNECT = 2;
const { FMF_FRAME_ID, FMF_USER_TIMESTAMP } = FrameMetadataFeature;
const { SIMULATE_SIGNAL_RECONNECT, SIMULATE_FULL_RECONNECT, SIMULATE_SERVER_LEAVE } = SimulateScenarioKind;

/** The mids of an offer. @param {{ sdp: string }} offer */
const mids = ({ sdp }) => sdp.match(/^a=mid:\S+/gm);

/** @param {string} title @param {() => Promise<void>} work */
const slow = (title, work) => test(title, work, RESUME_MS);

slow('a resumed participant keeps its sid, receives and is received, and the others receive no update', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  await ann.publishAudio();
  await ben.publishAudio();
  await ben.receivesAudioOf('ann');
  const { sid } = ann.me;
  ben.events.length = 0;
  await ann.room.simulateScenario(SIMULATE_SIGNAL_RECONNECT);
  await ann.hasEvent('reconnected');
  expect(ann.me.sid).toBe(sid);
  await Promise.all([ann.receivesAudioOf('ben'), ben.receivesAudioOf('ann')]);
  expect(ben.events.filter((event) => /^(participant|track)/.test(event))).toEqual([]);
});

slow('a resumed participant receives what has changed meanwhile', async () => {
  const room = newRoom();
  const [ann, cas] = await joinAll(room, 'ann', 'cas');
  const { sid } = ann.me;
  const join = { reconnect: true, participantSid: sid };
  await ann.hasEvent('participantConnected cas');
  await cas.leave();
  await ann.hasEvent('participantDisconnected cas');
  const [ben] = await joinAll(room, 'ben');
  await callApi('UpdateRoomMetadata', { room, metadata: 'about us' });
  // The signal connection is taken over from the participant's own client, which takes it back at once.
  const resumed = await connectSignalling({ room, identity: 'ann', signalling: { join } });
  await resumed.receives('reconnect', { serverInfo: expectedInSession('server version', 'reported', session.kind) });
  expect(resumed.kinds[0]).toBe('reconnect');
  await resumed.receivesInfo('ben', { sid: ben.me.sid, state: 2 });
  await resumed.receives('roomUpdate', { room: { name: room, metadata: 'about us' } });
  // A server can't know which updates arrived before the connection broke.
  expect(expectedInSession('participant that leaves while another one resumes', 'possible states in the update', session.kind)).toContain(resumed.infoOf('cas')?.state);
  await ann.hasEvent('reconnected');
  expect(ann.me.sid).toBe(sid);
});

slow('a participant whose sync_state lists an unknown track must reconnect fully', async () => {
  const options = { room: newRoom(), identity: 'ann' };
  const ann = await connectSignalling(options);
  const { participant } = await ann.receives('join');
  const resumed = await connectSignalling({ ...options, signalling: { join: { reconnect: true, participantSid: participant.sid } } });
  resumed.send('syncState', { publishTracks: [{ cid: 'lost', track: { sid: 'TR_AMlost' } }] });
  await resumed.receives('leave', { action: RECONNECT });
});

slow('an offer that is sent again after a resume keeps its mids, over two peer connections', async () => {
  const options = { room: newRoom(), identity: 'ann' };
  const ann = await connectSignalling({ ...options, signalling: { path: '/rtc' } });
  const { participant } = await ann.receives('join');
  const offer = await ann.receives('offer');
  const resumed = await connectSignalling({ ...options, signalling: { path: '/rtc', query: { reconnect: '1', sid: participant.sid } } });
  expect(mids(await resumed.receives('offer'))).toEqual(mids(offer));
});

slow('data sent around a resume is neither lost, nor duplicated, nor out of order', async () => {
  const [ann, ben] = await joinAll(newRoom(), 'ann', 'ben');
  const texts = Array.from({ length: 600 }, (_, index) => String(index));
  const sending = (async () => {
    for (const text of texts) await ann.send('numbers', text);
  })();
  await ben.waitFor('has received 20 messages', ({ inbox }) => inbox.length > 20, true);
  await Promise.all([ann, ben].map((client) => client.room.simulateScenario(SIMULATE_SIGNAL_RECONNECT)));
  await Promise.all([ann, ben].map((client) => client.hasEvent('reconnected', { within: 30_000 })));
  await sending;
  await ann.send('numbers', 'last');
  await ben.receives('numbers', [...texts, 'last'], { within: 30_000 });
});

slow('after a full reconnect a participant has another sid, and publishes its tracks again', async () => {
  const room = newRoom();
  const [ann, ben] = await joinAll(room, 'ann', 'ben');
  await ann.publishAudio();
  await ben.receivesAudioOf('ann');
  const { sid } = ann.me;
  await ann.room.simulateScenario(SIMULATE_FULL_RECONNECT);
  await ann.hasEvent('reconnected');
  await ben.waitFor('sees another ann', ({ room: seen }) => ![undefined, sid].includes(seen.remoteParticipants.get('ann')?.sid), true);
  await ben.receivesAudioOf('ann');
  const { participants } = await callApi('ListParticipants', { room });
  expect(participants.map(({ identity }) => identity).sort()).toEqual(['ann', 'ben']);
});

slow('after a full reconnect a client keeps its publication object, with its frame metadata', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  const publication = await ann.publishVideo('face', undefined, { frameMetadataFeatures: [FMF_USER_TIMESTAMP, FMF_FRAME_ID] });
  const { sid } = publication;
  const tracks = async () => (await callApi('GetParticipant', { room, identity: 'ann' })).tracks;
  const packet_trailer_features = ['PTF_USER_TIMESTAMP', 'PTF_FRAME_ID'];
  await eventually('the track is listed', tracks, (listed) => expect(listed).toMatchObject([{ sid, packet_trailer_features }]));
  await ann.room.simulateScenario(SIMULATE_FULL_RECONNECT);
  await ann.hasEvent('reconnected');
  await ann.waitFor('has another sid', () => publication.sid !== sid, true);
  expect([...ann.me.trackPublications]).toEqual([[publication.sid, publication]]);
  const again = [{ sid: publication.sid, packet_trailer_features }];
  await eventually('the other track is listed', tracks, (listed) => expect(listed).toMatchObject(again));
});

slow('a participant does not rejoin after SERVER_SHUTDOWN', async () => {
  const room = newRoom();
  const [ann] = await joinAll(room, 'ann');
  await ann.room.simulateScenario(SIMULATE_SERVER_LEAVE);
  await ann.hasEvent('disconnected SERVER_SHUTDOWN');
});
