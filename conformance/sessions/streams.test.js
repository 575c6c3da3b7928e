'use strict';

// Text and byte streams between participants.

const { digest } = require('../support/rtc-client.js');
const { eventually } = require('../../test-support/eventually.js');
const { useSession } = require('../support/use-session.js');

const { joinAll, newRoom } = useSession();
const MEGABYTES = 3;
const LARGE_MS = 60_000;

let ann, ben, cleo;
/** Received streams, by topic and receiver. @type {Record<string, { from: string, attributes?: object, name?: string, type: string, text: string }>} */
const received = {};

beforeAll(async () => {
  [ann, ben, cleo] = await joinAll(newRoom(), 'ann', 'ben', 'cleo');
}, 30_000);

/** @param {import('../support/rtc-client.js').RtcClient[]} clients @param {string} topic */
function registerTextHandlers(clients, topic) {
  for (const { identity, room } of clients) {
    room.registerTextStreamHandler(topic, async (reader, sender) => {
      const { attributes, mimeType: type } = reader.info;
      received[`${topic} to ${identity}`] = { from: sender.identity, attributes, type, text: digest(Buffer.from(await reader.readAll())) };
    });
  }
}

/** @param {import('../support/rtc-client.js').RtcClient[]} clients @param {string} topic */
function registerByteHandlers(clients, topic) {
  for (const { identity, room } of clients) {
    room.registerByteStreamHandler(topic, async (reader, sender) => {
      const { name, mimeType: type } = reader.info;
      received[`${topic} to ${identity}`] = { from: sender.identity, name, type, text: digest(Buffer.concat(await reader.readAll())) };
    });
  }
}

/** @param {string} what @param {any} like @param {{ within?: number }} [time] */
const isReceived = (what, like, time) => eventually(what, async () => received[what], (stream) => expect(stream).toMatchObject(like), time);

test('a text stream reaches all other participants with its sender and attributes', async () => {
  registerTextHandlers([ann, ben, cleo], 'chat');
  await ann.me.sendText('hello', { topic: 'chat', attributes: { mood: 'good' } });
  for (const identity of ['ben', 'cleo']) await isReceived(`chat to ${identity}`, { from: 'ann', attributes: { mood: 'good' }, text: 'hello' });
  expect(received).not.toHaveProperty('chat to ann');
});

test('a text stream with destinations reaches only those', async () => {
  registerTextHandlers([ben, cleo], 'whisper');
  await ann.me.sendText('hello', { topic: 'whisper', destinationIdentities: ['ben'] });
  await isReceived('whisper to ben', { text: 'hello' });
  registerTextHandlers([ben, cleo], 'aloud');
  await ann.me.sendText('hello', { topic: 'aloud' });
  await isReceived('aloud to cleo', { text: 'hello' });
  expect(received).not.toHaveProperty('whisper to cleo');
});

test('a text stream that is written in 50 pieces is received whole', async () => {
  registerTextHandlers([ben], 'pieces');
  const writer = await ann.me.streamText({ topic: 'pieces' });
  const pieces = Array.from({ length: 50 }, (_, index) => `piece ${index}, über 😀; `.repeat(40));
  for (const piece of pieces) await writer.write(piece);
  await writer.close();
  await isReceived('pieces to ben', { text: digest(Buffer.from(pieces.join(''))) });
});

test('a byte stream is received with its name and type', async () => {
  registerByteHandlers([ben, cleo], 'file');
  const writer = await ann.me.streamBytes({ topic: 'file', name: 'a.png', mimeType: 'image/png' });
  await writer.write(Buffer.from([0, 1, 2, 255]));
  await writer.close();
  const text = Buffer.from([0, 1, 2, 255]).toString();
  for (const identity of ['ben', 'cleo']) await isReceived(`file to ${identity}`, { from: 'ann', name: 'a.png', type: 'image/png', text });
});

test(
  'byte streams of megabytes are received whole from two senders at once',
  async () => {
    registerByteHandlers([cleo], 'large of ann');
    registerByteHandlers([cleo], 'large of ben');
    const bytes = Buffer.alloc(MEGABYTES * 1024 * 1024, 'no two neighbours are alike ');
    const sendStream = async (client) => {
      const writer = await client.me.streamBytes({ topic: `large of ${client.identity}`, totalSize: bytes.length });
      await writer.write(bytes);
      await writer.close();
    };
    await Promise.all([sendStream(ann), sendStream(ben)]);
    for (const from of ['ann', 'ben']) await isReceived(`large of ${from} to cleo`, { from, text: digest(bytes) }, { within: 30_000 });
  },
  LARGE_MS,
);
