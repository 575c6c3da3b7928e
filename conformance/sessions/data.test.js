'use strict';

// Data that participants send each other.

const { digest } = require('../support/caller.js');
const { pause } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const { ask, gather, join, newRoom } = setSession();
const MEGABYTES_MS = 60_000;
const ARRIVES_MS = 1500;

const room = newRoom();
let ann, ben, cleo;

beforeAll(async () => {
  [ann, ben, cleo] = await gather(room, 'ann', 'ben', 'cleo');
}, 30_000);

/** @param {number} length @param {(index: number) => string | Buffer} make */
const listOf = (length, make) => Array.from({ length }, (_, index) => make(index));
/** Messages of that many bytes, no two alike. @param {number} count @param {number} bytes */
const blocks = (count, bytes) => listOf(count, (index) => Buffer.alloc(bytes, `block ${index} `));

/** @param {import('../support/caller.js').Caller} who @param {string} topic @param {(string | Buffer)[]} messages */
async function sendsAll(who, topic, messages) {
  for (const message of messages) await who.sends(topic, message);
}

test('it reaches all others, with its sender and its topic, and not its sender', async () => {
  await ann.sends('greetings', 'hello');
  for (const who of [ben, cleo]) {
    await who.receives('greetings', ['hello']);
    expect(who.inbox.filter(({ topic }) => topic === 'greetings')).toEqual([
      { from: 'ann', topic: 'greetings', reliable: true, text: 'hello' },
    ]);
  }
  expect(ann.inbox).toEqual([]);
});

test('it can be lossy', async () => {
  await ann.sends('lossy', 'hello', { reliable: false });
  await ben.receives('lossy', ['hello']);
  expect(ben.inbox).toContainEqual({ from: 'ann', topic: 'lossy', reliable: false, text: 'hello' });
});

test('it needs no topic', async () => {
  await ann.sends('', 'hello');
  await ben.receives('', ['hello']);
});

test('it reaches only those whom it names', async () => {
  await ann.sends('named', 'for cleo', { destination_identities: ['cleo'] });
  await ann.sends('named', 'for ben and cleo', { destination_identities: ['ben', 'cleo', 'nobody'] });
  await ann.sends('named', 'for nobody', { destination_identities: ['nobody'] });
  await ann.sends('named', 'for myself', { destination_identities: ['ann'] });
  await ann.sends('named', 'for all');
  await ben.receives('named', ['for ben and cleo', 'for all']);
  await cleo.receives('named', ['for cleo', 'for ben and cleo', 'for all']);
  expect(ann.inbox.filter(({ topic }) => topic === 'named')).toEqual([]);
});

test('it comes whole, also if it is 60,000 bytes long', async () => {
  const [message] = blocks(1, 60_000);
  await ann.sends('long', message);
  await ben.receives('long', [digest(message)]);
});

test('it comes in the order in which it was sent', async () => {
  const texts = listOf(500, String);
  await sendsAll(ann, 'burst', texts);
  await Promise.all([ben, cleo].map((who) => who.receives('burst', texts)));
});

test('it comes in order where all send at once', async () => {
  const [fromAnn, fromBen] = ['ann', 'ben'].map((who) => listOf(200, (index) => `${who} ${index}`));
  await Promise.all([sendsAll(ann, 'crossing', fromAnn), sendsAll(ben, 'crossing', fromBen)]);
  await ann.receives('crossing', fromBen);
  await ben.receives('crossing', fromAnn);
  await cleo.comesTo('receives both', ({ inbox }) => inbox.filter(({ topic }) => topic === 'crossing').length, 400);
  const texts = cleo.inbox.filter(({ topic }) => topic === 'crossing').map(({ text }) => text);
  expect(texts.filter((text) => text.startsWith('ann'))).toEqual(fromAnn);
  expect(texts.filter((text) => text.startsWith('ben'))).toEqual(fromBen);
});

test(
  'nothing of several megabytes is lost',
  async () => {
    const messages = blocks(200, 15_000);
    await sendsAll(ann, 'megabytes', messages);
    await Promise.all([ben, cleo].map((who) => who.receives('megabytes', messages.map(digest), { within: 30_000 })));
  },
  MEGABYTES_MS,
);

test.each([{ canPublishData: false }, { canPublish: false }])('it is dropped if its sender has %p, until that changes', async (grants) => {
  const topic = JSON.stringify(grants);
  const dan = await join({ room, identity: 'dan', grants });
  await dan.sends(topic, 'not allowed');
  // Nobody is told when it arrives, which must be before it would be allowed.
  await pause(ARRIVES_MS);
  await ask('UpdateParticipant', {
    room,
    identity: 'dan',
    metadata: 'allowed',
    permission: { can_subscribe: true, can_publish: true, can_publish_data: true },
  });
  await dan.notes('participantMetadataChanged dan allowed');
  await dan.sends(topic, 'allowed');
  await ben.receives(topic, ['allowed']);
});

test('whoever joins late receives what is sent from then on', async () => {
  await ann.sends('late', 'before');
  await ben.receives('late', ['before']);
  const dan = await join({ room, identity: 'dan' });
  await ann.sends('late', 'after');
  await dan.receives('late', ['after']);
});
