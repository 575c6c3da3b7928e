'use strict';

// A participant that uses the version of rtc-node in RTC_NODE. Arguments: URL, token. Prints what it receives as JSON, one event per line,
// and sends each line of its input to the others. Ends when its input ends.

const { createInterface } = require('node:readline');
const { RtcClient } = require('../../../conformance/support/rtc-client.js');
const { moves, sounds } = require('../../../conformance/support/media.js');
const rtc = require('../../../conformance/support/rtc.js');

/** Maximum time until a track's media is decoded, in ms; past it no event is printed. */
const MEDIA_MS = 60_000;

/** @param {string} event @param {unknown} [detail] */
const report = (event, detail) => console.log(JSON.stringify({ event, detail }));

/** @param {string} url @param {string} token */
async function run(url, token) {
  const client = new RtcClient('rtc-node');
  client.room.on(rtc.RoomEvent.TrackSubscribed, async (track, _publication, { identity }) => {
    const [event, check] = track.kind === rtc.TrackKind.KIND_VIDEO ? ['video', moves] : ['audio', sounds];
    if (await check(track, MEDIA_MS)) report(event, identity);
  });
  client.room.on(rtc.RoomEvent.DataReceived, (bytes, participant) => {
    report('data', { identity: participant?.identity, text: Buffer.from(bytes).toString() });
  });
  await client.connect(url, token);
  await client.publishVideo();
  await client.publishAudio();
  report('joined');
  for await (const line of createInterface({ input: process.stdin })) await client.send('', line);
  await client.leave();
  process.exit();
}

run(process.argv[2], process.argv[3]);
