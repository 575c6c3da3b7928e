'use strict';

// Participants whose connection breaks, and who come back.

const { FrameMetadataFeature, SimulateScenarioKind } = require('@livekit/rtc-ffi-bindings');
const { experienceOf } = require('../deviations.js');
const { eventually } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { ask, dials, gather, newRoom } = session;
const RESUME_MS = 60_000;
/** As the protocol numbers it. */
const RECONNECT = 2;
const { FMF_FRAME_ID, FMF_USER_TIMESTAMP } = FrameMetadataFeature;
const { SIMULATE_SIGNAL_RECONNECT, SIMULATE_FULL_RECONNECT, SIMULATE_SERVER_LEAVE } = SimulateScenarioKind;

/** What the sections of an offer are called. @param {{ sdp: string }} offer */
const names = ({ sdp }) => sdp.match(/^a=mid:\S+/gm);

/** @param {string} title @param {() => Promise<void>} work */
const slow = (title, work) => test(title, work, RESUME_MS);

slow('a resumed participant is the same for all, and hears and is heard', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  await ann.speaks();
  await ben.speaks();
  await ben.hears('ann');
  const { sid } = ann.me;
  ben.events.length = 0;
  await ann.room.simulateScenario(SIMULATE_SIGNAL_RECONNECT);
  await ann.notes('reconnected');
  expect(ann.me.sid).toBe(sid);
  await Promise.all([ann.hears('ben'), ben.hears('ann')]);
  expect(ben.events.filter((event) => /^(participant|track)/.test(event))).toEqual([]);
});

slow('a resumed participant learns what has changed meanwhile', async () => {
  const room = newRoom();
  const [ann, cas] = await gather(room, 'ann', 'cas');
  const { sid } = ann.me;
  const join = { reconnect: true, participantSid: sid };
  await ann.notes('participantConnected cas');
  await cas.leaves();
  await ann.notes('participantDisconnected cas');
  const [ben] = await gather(room, 'ben');
  await ask('UpdateRoomMetadata', { room, metadata: 'about us' });
  // Its signalling is taken over from its client, which takes it back at once.
  const resumed = await dials({ room, identity: 'ann', dialling: { join } });
  await resumed.hears('reconnect', { serverInfo: experienceOf('the version of the server', 'is reported', session.kind) });
  expect(resumed.kinds[0]).toBe('reconnect');
  await resumed.isTold('ben', { sid: ben.me.sid, state: 2 });
  await resumed.hears('roomUpdate', { room: { name: room, metadata: 'about us' } });
  // No server knows what has got through a connection that broke.
  expect(experienceOf('who leaves while another resumes', 'is told to have left', session.kind)).toContain(resumed.told('cas')?.state);
  await ann.notes('reconnected');
  expect(ann.me.sid).toBe(sid);
});

slow('a participant that believes to publish what is not there has to join anew', async () => {
  const who = { room: newRoom(), identity: 'ann' };
  const ann = await dials(who);
  const { participant } = await ann.hears('join');
  const resumed = await dials({ ...who, dialling: { join: { reconnect: true, participantSid: participant.sid } } });
  resumed.says('syncState', { publishTracks: [{ cid: 'lost', track: { sid: 'TR_AMlost' } }] });
  await resumed.hears('leave', { action: RECONNECT });
});

slow('what a client was offered before its connection broke keeps its name, over two peer connections', async () => {
  const who = { room: newRoom(), identity: 'ann' };
  const ann = await dials({ ...who, dialling: { path: '/rtc' } });
  const { participant } = await ann.hears('join');
  const offer = await ann.hears('offer');
  const resumed = await dials({ ...who, dialling: { path: '/rtc', query: { reconnect: '1', sid: participant.sid } } });
  expect(names(await resumed.hears('offer'))).toEqual(names(offer));
});

slow('nothing that is sent around a resume is lost, doubled or out of order', async () => {
  const [ann, ben] = await gather(newRoom(), 'ann', 'ben');
  const texts = Array.from({ length: 600 }, (_, index) => String(index));
  const sending = (async () => {
    for (const text of texts) await ann.sends('numbers', text);
  })();
  await ben.comesTo('has received some', ({ inbox }) => inbox.length > 20, true);
  await Promise.all([ann, ben].map((who) => who.room.simulateScenario(SIMULATE_SIGNAL_RECONNECT)));
  await Promise.all([ann, ben].map((who) => who.notes('reconnected', { within: 30_000 })));
  await sending;
  await ann.sends('numbers', 'last');
  await ben.receives('numbers', [...texts, 'last'], { within: 30_000 });
});

slow('after a full reconnect a participant is another, and publishes what it had', async () => {
  const room = newRoom();
  const [ann, ben] = await gather(room, 'ann', 'ben');
  await ann.speaks();
  await ben.hears('ann');
  const { sid } = ann.me;
  await ann.room.simulateScenario(SIMULATE_FULL_RECONNECT);
  await ann.notes('reconnected');
  await ben.comesTo('sees another ann', ({ room: seen }) => ![undefined, sid].includes(seen.remoteParticipants.get('ann')?.sid), true);
  await ben.hears('ann');
  const { participants } = await ask('ListParticipants', { room });
  expect(participants.map(({ identity }) => identity).sort()).toEqual(['ann', 'ben']);
});

slow('after a full reconnect a client has the publication that it had, with its frame metadata', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  const publication = await ann.shows('face', undefined, { frameMetadataFeatures: [FMF_USER_TIMESTAMP, FMF_FRAME_ID] });
  const { sid } = publication;
  const tracks = async () => (await ask('GetParticipant', { room, identity: 'ann' })).tracks;
  const packet_trailer_features = ['PTF_USER_TIMESTAMP', 'PTF_FRAME_ID'];
  await eventually('the track is told', tracks, (told) => expect(told).toMatchObject([{ sid, packet_trailer_features }]));
  await ann.room.simulateScenario(SIMULATE_FULL_RECONNECT);
  await ann.notes('reconnected');
  await ann.comesTo('has another track', () => publication.sid !== sid, true);
  expect([...ann.me.trackPublications]).toEqual([[publication.sid, publication]]);
  const again = [{ sid: publication.sid, packet_trailer_features }];
  await eventually('the other track is told', tracks, (told) => expect(told).toMatchObject(again));
});

slow('a participant that the server dismisses does not come back', async () => {
  const room = newRoom();
  const [ann] = await gather(room, 'ann');
  await ann.room.simulateScenario(SIMULATE_SERVER_LEAVE);
  await ann.notes('disconnected SERVER_SHUTDOWN');
});
