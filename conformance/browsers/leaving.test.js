'use strict';

// Those who have to go, and those who vanish.

const { setStage } = require('../support/stage.js');

const { ask, join, newRoom, tryToJoin } = setStage();
const LEAVE_MS = 60_000;

test.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])(
  'who opens a second tab goes on in that, and the first one ends, with %j',
  async (options) => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben', options, publish: ['camera'] });
    const first = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    await ben.seesVideoOf('ann');
    const second = await join({ room, identity: 'ann', options, publish: ['camera', 'microphone'] });
    await first.lives(['disconnected DUPLICATE_IDENTITY']);
    await ben.seesAndHears('ann');
    await second.seesVideoOf('ben');
    expect(await first.state()).toMatchObject({ state: 'disconnected' });
    expect(Object.keys((await ben.state()).others)).toEqual(['ann']);
  },
  LEAVE_MS,
);

test(
  'whose tab dies is gone for the others in half a minute',
  async () => {
    const room = newRoom();
    const ann = await join({ room, identity: 'ann', publish: ['camera'] });
    const ben = await join({ room, identity: 'ben' });
    await ben.seesVideoOf('ann');
    await ann.crash();
    await ben.missesNobodyBut('ann', { within: 35_000 });
    expect(await ben.events()).toContain('participantDisconnected ann');
  },
  LEAVE_MS,
);

test('who is removed is out, and the others see it go', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.seesVideoOf('ann');
  await ask('RemoveParticipant', { room, identity: 'ann' });
  await ann.lives(['disconnected PARTICIPANT_REMOVED']);
  await ben.missesNobodyBut('ann');
  expect(await ben.events()).toContain('participantDisconnected ann');
});

test('a room that is deleted ends for all who are in it', async () => {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  await ben.seesVideoOf('ann');
  await ask('DeleteRoom', { room });
  for (const who of [ann, ben]) await who.lives(['disconnected ROOM_DELETED']);
});

test('a room that is full lets nobody in, until somebody leaves', async () => {
  const room = newRoom();
  await ask('CreateRoom', { name: room, max_participants: 2 });
  const ann = await join({ room, identity: 'ann', publish: ['camera'] });
  const ben = await join({ room, identity: 'ben' });
  const { error } = await tryToJoin({ room, identity: 'cas' });
  expect(error).toMatchObject({ name: 'ConnectionError' });
  await ben.seesVideoOf('ann');
  await ben.leaves();
  await ann.missesNobodyBut('ben');
  const dan = await join({ room, identity: 'dan' });
  await dan.seesVideoOf('ann');
});
