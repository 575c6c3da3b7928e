'use strict';

// Data packets between participants.

const { digest } = require('../support/rtc-client.js');
const { pause } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const { callApi, joinAll, join, newRoom } = useSession();
const MEGABYTES_MS = 60_000;
const ARRIVAL_MS = 1500;

const room = newRoom();
let ann, ben, cleo;

beforeAll(async () => {
  [ann, ben, cleo] = await joinAll(room, 'ann', 'ben', 'cleo');
}, 30_000);

/** @param {number} length @param {(index: number) => string | Buffer} make */
const listOf = (length, make) => Array.from({ length }, (_, index) => make(index));
/** Different messages of so many bytes. @param {number} count @param {number} bytes */
const blocks = (count, bytes) => listOf(count, (index) => Buffer.alloc(bytes, `block ${index} `));

/** @param {import('../support/rtc-client.js').RtcClient} client @param {string} topic @param {(string | Buffer)[]} messages */
async function sendAll(client, topic, messages) {
  for (const message of messages) await client.send(topic, message);
}

test('data reaches all other participants with its sender and topic, and not its sender', async () => {
  await ann.send('greetings', 'hello');
  for (const client of [ben, cleo]) {
    await client.receives('greetings', ['hello']);
    expect(client.inbox.filter(({ topic }) => topic === 'greetings')).toEqual([
      { from: 'ann', topic: 'greetings', reliable: true, text: 'hello' },
    ]);
  }
  expect(ann.inbox).toEqual([]);
});

test('lossy data is received', async () => {
  await ann.send('lossy', 'hello', { reliable: false });
  await ben.receives('lossy', ['hello']);
  expect(ben.inbox).toContainEqual({ from: 'ann', topic: 'lossy', reliable: false, text: 'hello' });
});

test('data without a topic is received', async () => {
  await ann.send('', 'hello');
  await ben.receives('', ['hello']);
});

test('data with destinations reaches only those', async () => {
  await ann.send('named', 'for cleo', { destination_identities: ['cleo'] });
  await ann.send('named', 'for ben and cleo', { destination_identities: ['ben', 'cleo', 'unknown'] });
  await ann.send('named', 'for an unknown identity', { destination_identities: ['unknown'] });
  await ann.send('named', 'for myself', { destination_identities: ['ann'] });
  await ann.send('named', 'for all');
  await ben.receives('named', ['for ben and cleo', 'for all']);
  await cleo.receives('named', ['for cleo', 'for ben and cleo', 'for all']);
  expect(ann.inbox.filter(({ topic }) => topic === 'named')).toEqual([]);
});

test('60,000 bytes are received whole', async () => {
  const [message] = blocks(1, 60_000);
  await ann.send('long', message);
  await ben.receives('long', [digest(message)]);
});

test('data is received in the order of sending', async () => {
  const texts = listOf(500, String);
  await sendAll(ann, 'burst', texts);
  await Promise.all([ben, cleo].map((client) => client.receives('burst', texts)));
});

test('data of each sender is received in order when two send at once', async () => {
  const [fromAnn, fromBen] = ['ann', 'ben'].map((identity) => listOf(200, (index) => `${identity} ${index}`));
  await Promise.all([sendAll(ann, 'crossing', fromAnn), sendAll(ben, 'crossing', fromBen)]);
  await ann.receives('crossing', fromBen);
  await ben.receives('crossing', fromAnn);
  await cleo.waitFor('receives both', ({ inbox }) => inbox.filter(({ topic }) => topic === 'crossing').length, 400);
  const texts = cleo.inbox.filter(({ topic }) => topic === 'crossing').map(({ text }) => text);
  expect(texts.filter((text) => text.startsWith('ann'))).toEqual(fromAnn);
  expect(texts.filter((text) => text.startsWith('ben'))).toEqual(fromBen);
});

test(
  'three megabytes are received without loss',
  async () => {
    const messages = blocks(200, 15_000);
    await sendAll(ann, 'megabytes', messages);
    await Promise.all([ben, cleo].map((client) => client.receives('megabytes', messages.map(digest), { within: 30_000 })));
  },
  MEGABYTES_MS,
);

test.each([{ canPublishData: false }, { canPublish: false }])('data of a sender with %p is dropped, until it has the permission', async (grants) => {
  const topic = JSON.stringify(grants);
  const dan = await join({ room, identity: 'dan', grants });
  await dan.send(topic, 'not allowed');
  // Nothing shows when the server has dropped it, and that must be before the permission changes.
  await pause(ARRIVAL_MS);
  await callApi('UpdateParticipant', {
    room,
    identity: 'dan',
    metadata: 'allowed',
    permission: { can_subscribe: true, can_publish: true, can_publish_data: true },
  });
  await dan.hasEvent('participantMetadataChanged dan allowed');
  await dan.send(topic, 'allowed');
  await ben.receives(topic, ['allowed']);
});

test('a participant that joins late receives data sent after it joined', async () => {
  await ann.send('late', 'before');
  await ben.receives('late', ['before']);
  const dan = await join({ room, identity: 'dan' });
  await ann.send('late', 'after');
  await dan.receives('late', ['after']);
});
