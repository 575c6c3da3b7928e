'use strict';

// A participant by the version of rtc-node that RTC_NODE names. Arguments: URL, token. Prints what it receives as JSON, one event a line,
// and sends each line of its input to the others. Ends with its input.

const { createInterface } = require('node:readline');
const { Caller } = require('../../../conformance/support/caller.js');
const { moves, sounds } = require('../../../conformance/support/media.js');
const rtc = require('../../../conformance/support/rtc.js');

/** Longest wait for a track's media, in ms; past it the event is missing. */
const MEDIA_MS = 60_000;

/** @param {string} event @param {unknown} [detail] */
const report = (event, detail) => console.log(JSON.stringify({ event, detail }));

/** @param {string} url @param {string} token */
async function run(url, token) {
  const caller = new Caller('rtc-node');
  caller.room.on(rtc.RoomEvent.TrackSubscribed, async (track, _publication, { identity }) => {
    const [event, check] = track.kind === rtc.TrackKind.KIND_VIDEO ? ['video', moves] : ['audio', sounds];
    if (await check(track, MEDIA_MS)) report(event, identity);
  });
  caller.room.on(rtc.RoomEvent.DataReceived, (bytes, participant) => {
    report('data', { identity: participant?.identity, text: Buffer.from(bytes).toString() });
  });
  await caller.connect(url, token);
  await caller.shows();
  await caller.speaks();
  report('joined');
  for await (const line of createInterface({ input: process.stdin })) await caller.sends('', line);
  await caller.leaves();
  process.exit();
}

run(process.argv[2], process.argv[3]);
