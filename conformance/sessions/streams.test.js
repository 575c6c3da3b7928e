'use strict';

// Texts and files that participants send each other in pieces.

const { digest } = require('../support/caller.js');
const { eventually } = require('../../test-support/eventually.js');
const { setSession } = require('../support/session.js');

const { gather, newRoom } = setSession();
const MEGABYTES = 3;
const LARGE_MS = 60_000;

let ann, ben, cleo;
/** What has come, by topic and who it has come to. @type {Record<string, { from: string, attributes?: object, name?: string, type: string, text: string }>} */
const come = {};

beforeAll(async () => {
  [ann, ben, cleo] = await gather(newRoom(), 'ann', 'ben', 'cleo');
}, 30_000);

/** @param {import('../support/caller.js').Caller[]} callers @param {string} topic */
function awaitTexts(callers, topic) {
  for (const { identity, room } of callers) {
    room.registerTextStreamHandler(topic, async (reader, sender) => {
      const { attributes, mimeType: type } = reader.info;
      come[`${topic} to ${identity}`] = { from: sender.identity, attributes, type, text: digest(Buffer.from(await reader.readAll())) };
    });
  }
}

/** @param {import('../support/caller.js').Caller[]} callers @param {string} topic */
function awaitBytes(callers, topic) {
  for (const { identity, room } of callers) {
    room.registerByteStreamHandler(topic, async (reader, sender) => {
      const { name, mimeType: type } = reader.info;
      come[`${topic} to ${identity}`] = { from: sender.identity, name, type, text: digest(Buffer.concat(await reader.readAll())) };
    });
  }
}

/** @param {string} what @param {any} like @param {{ within?: number }} [time] */
const hasCome = (what, like, time) => eventually(what, async () => come[what], (stream) => expect(stream).toMatchObject(like), time);

test('a text reaches all others, with its sender and its attributes', async () => {
  awaitTexts([ann, ben, cleo], 'chat');
  await ann.me.sendText('hello', { topic: 'chat', attributes: { mood: 'good' } });
  for (const who of ['ben', 'cleo']) await hasCome(`chat to ${who}`, { from: 'ann', attributes: { mood: 'good' }, text: 'hello' });
  expect(come).not.toHaveProperty('chat to ann');
});

test('a text reaches only those whom it names', async () => {
  awaitTexts([ben, cleo], 'whisper');
  await ann.me.sendText('hello', { topic: 'whisper', destinationIdentities: ['ben'] });
  await hasCome('whisper to ben', { text: 'hello' });
  awaitTexts([ben, cleo], 'aloud');
  await ann.me.sendText('hello', { topic: 'aloud' });
  await hasCome('aloud to cleo', { text: 'hello' });
  expect(come).not.toHaveProperty('whisper to cleo');
});

test('a text comes whole that is written piece by piece', async () => {
  awaitTexts([ben], 'pieces');
  const writer = await ann.me.streamText({ topic: 'pieces' });
  const pieces = Array.from({ length: 50 }, (_, index) => `piece ${index}, über 😀; `.repeat(40));
  for (const piece of pieces) await writer.write(piece);
  await writer.close();
  await hasCome('pieces to ben', { text: digest(Buffer.from(pieces.join(''))) });
});

test('bytes come whole, with a name and a type', async () => {
  awaitBytes([ben, cleo], 'file');
  const writer = await ann.me.streamBytes({ topic: 'file', name: 'a.png', mimeType: 'image/png' });
  await writer.write(Buffer.from([0, 1, 2, 255]));
  await writer.close();
  const text = Buffer.from([0, 1, 2, 255]).toString();
  for (const who of ['ben', 'cleo']) await hasCome(`file to ${who}`, { from: 'ann', name: 'a.png', type: 'image/png', text });
});

test(
  'megabytes come whole from two who send at once',
  async () => {
    awaitBytes([cleo], 'large of ann');
    awaitBytes([cleo], 'large of ben');
    const bytes = Buffer.alloc(MEGABYTES * 1024 * 1024, 'no two neighbours are alike ');
    const sends = async (who) => {
      const writer = await who.me.streamBytes({ topic: `large of ${who.identity}`, totalSize: bytes.length });
      await writer.write(bytes);
      await writer.close();
    };
    await Promise.all([sends(ann), sends(ben)]);
    for (const from of ['ann', 'ben']) await hasCome(`large of ${from} to cleo`, { from, text: digest(bytes) }, { within: 30_000 });
  },
  LARGE_MS,
);
