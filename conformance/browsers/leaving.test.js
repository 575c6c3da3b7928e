'use strict';

// Participants that leave, are removed, or lose their page.

const { useBrowsers } = require('../support/use-browsers.js');

const { callApi, join, newRoom, tryToJoin } = useBrowsers();
const LEAVE_MS = 60_000;

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'a second tab with the same identity replaces the first one, with %j',
  async (options) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben', options, publish: ['camera'] });
    const first = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    await ben.receivesVideoOf('ann');
    const second = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    await first.hasEvents(['disconnected DUPLICATE_IDENTITY']);
    await ben.receivesMediaOf('ann');
    await second.receivesVideoOf('ben');
    expect(await first.state()).toMatchObject({ state: 'disconnected' });
    expect(Object.keys((await ben.state()).others)).toEqual(['ann']);
  },
  LEAVE_MS,
);

test(
  'a participant whose page crashes leaves the room within 35 seconds',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.receivesVideoOf('ann');
    await ann.crash();
    await ben.hasLost('ann', { within: 35_000 });
    expect(await ben.events()).toContain('participantDisconnected ann');
  },
  LEAVE_MS,
);

test('RemoveParticipant disconnects the participant, and the others receive its departure', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.receivesVideoOf('ann');
  await callApi('RemoveParticipant', { room, identity: 'ann' });
  await ann.hasEvents(['disconnected PARTICIPANT_REMOVED']);
  await ben.hasLost('ann');
  expect(await ben.events()).toContain('participantDisconnected ann');
});

test('DeleteRoom disconnects all participants', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.receivesVideoOf('ann');
  await callApi('DeleteRoom', { room });
  for (const participant of [ann, ben]) await participant.hasEvents(['disconnected ROOM_DELETED']);
});

test('a full room rejects a participant until another one leaves', async () => {
  const room = newRoom();
  await callApi('CreateRoom', { name: room, max_participants: 2 });
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  const { error } = await tryToJoin({ room, identity: 'cas' });
  expect(error).toMatchObject({ name: 'ConnectionError' });
  await ben.receivesVideoOf('ann');
  await ben.leave();
  await ann.hasLost('ben');
  const dan = await join({ room, identity: 'dan' });
  await dan.receivesVideoOf('ann');
});
