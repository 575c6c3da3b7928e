// npm run tour: a call without a server. Two of LiveKit's own clients join a room of the embedded engine, see and hear each
// other, and are sent away again; each step is told.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { ensureAddon, ensureNodeModules } from './setup.mjs';
import { report } from './shell.mjs';

const ROOM = 'huddle:demo';
const SETTINGS = { maxParticipants: 8, emptyTimeoutSecs: 60 };
const NAMES = { alice: 'Alice', bob: 'Bob' };
const [WIDTH, HEIGHT, FPS] = [320, 180, 15];
const [RATE, SOUND_MS] = [48_000, 10];
/** rtc-node 1.1 frees a queue of sound while it still plays from it, and once in a while the process aborts. */
const NO_QUEUE = 0;
const FRAMES = 15;
const WAIT_MS = 15_000;
const require = createRequire(import.meta.url);

/** @param {import('../index.js').MediaService} media @param {typeof import('@livekit/rtc-node')} rtc */
async function tell(media, rtc) {
  step('create a room');
  const room = await media.createRoom(ROOM, SETTINGS);
  show(`${room.name}: at most ${room.maxParticipants} participants, created ${new Date(room.createdAt).toISOString()}`);

  step('mint a token for Alice and one for Bob');
  const [alice, bob] = await Promise.all(Object.keys(NAMES).map((identity) => mint(media, identity)));
  for (const [claim, value] of Object.entries(claimsOf(alice.token))) show(`${claim}: ${JSON.stringify(value)}`);

  step(`both join with LiveKit's client, on ${alice.url}`);
  const callers = [await join(rtc, alice), await join(rtc, bob)];
  for (const { room: joined } of callers) show(`${joined.localParticipant.identity} is in ${joined.name}`);

  step('both publish camera and microphone, and receive each other');
  const received = callers.map((caller) => receive(rtc, caller.room));
  await Promise.all(callers.map((caller) => caller.publish()));
  for (const [index, { frames, width, height, loudness }] of (await Promise.all(received)).entries()) {
    const { localParticipant: me } = callers[index].room;
    show(`${me.identity} has decoded ${frames} frames of ${width}x${height}, and sound at ${loudness.toFixed(0)} dBFS`);
  }

  step('Alice sends Bob a message');
  const told = once(callers[1].room, 'dataReceived');
  await callers[0].room.localParticipant.publishData(Buffer.from('hello, Bob'), { reliable: true, topic: 'chat' });
  const [payload, sender] = await within(told);
  show(`bob has received "${Buffer.from(payload)}" from ${sender.identity}`);

  step('list the room and who is in it');
  for (const { name, numParticipants } of await media.listRooms()) show(`room ${name}: ${numParticipants} participants`);
  for (const { identity, name, state, tracks } of await media.listParticipants(ROOM)) {
    show(`${identity} (${name}): ${state}, publishes ${tracks.map(({ source }) => source).join(' and ')}`);
  }

  step('remove Bob, then tear the room down');
  await leaving(rtc, callers[1].room, () => media.removeParticipant(ROOM, 'bob'));
  await leaving(rtc, callers[0].room, () => media.deleteRoom(ROOM));
  show(`${(await media.listRooms()).length} rooms are left`);

  step('create it anew: the old token opens nothing, a new one does');
  await media.createRoom(ROOM, SETTINGS);
  await validate('the old token', alice);
  await validate('a new token', await mint(media, 'alice'));
}

const mint = (media, identity) =>
  media.generateToken(ROOM, { identity, name: NAMES[identity], ttlSecs: 600, roomSettings: SETTINGS });

/** Joins, ready to publish a picture that moves and a tone. */
async function join(rtc, { url, token }) {
  const room = new rtc.Room();
  await within(room.connect(url, token, { autoSubscribe: true, dynacast: false }));
  const [video, audio] = [new rtc.VideoSource(WIDTH, HEIGHT), new rtc.AudioSource(RATE, 1, NO_QUEUE)];
  const left = new AbortController();
  room.once('disconnected', () => left.abort());
  return {
    room,
    async publish() {
      const { TrackSource, TrackPublishOptions } = rtc;
      const of = (source) => new TrackPublishOptions({ source });
      const { localParticipant: me } = room;
      await me.publishTrack(rtc.LocalVideoTrack.createVideoTrack('camera', video), of(TrackSource.SOURCE_CAMERA));
      await me.publishTrack(rtc.LocalAudioTrack.createAudioTrack('microphone', audio), of(TrackSource.SOURCE_MICROPHONE));
      for (const feed of [paint(rtc, video, left.signal), sound(rtc, audio, left.signal)]) feed.catch(() => {});
    },
  };
}

async function paint(rtc, source, signal) {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const pixels = new Uint8Array(WIDTH * HEIGHT * 4).fill((turn * 8) % 256);
    source.captureFrame(new rtc.VideoFrame(pixels, WIDTH, HEIGHT, rtc.VideoBufferType.RGBA));
    await pause(1000 / FPS, undefined, { signal });
  }
}

async function sound(rtc, source, signal) {
  const samples = (RATE * SOUND_MS) / 1000;
  const begun = performance.now();
  for (let at = 0; !signal.aborted; at += samples) {
    const tone = Int16Array.from({ length: samples }, (_, i) => 8000 * Math.sin((2 * Math.PI * 440 * (at + i)) / RATE));
    await source.captureFrame(new rtc.AudioFrame(tone, RATE, 1, samples));
    await pause(Math.max(0, begun + ((at + samples) * 1000) / RATE - performance.now()), undefined, { signal });
  }
}

/** What comes from the other one: pictures until there are some, sound until it is loud. */
function receive(rtc, room) {
  const seen = { frames: 0, width: 0, height: 0, loudness: -Infinity };
  const complete = new Promise((resolve, reject) => {
    const done = () => seen.frames >= FRAMES && Number.isFinite(seen.loudness) && resolve(seen);
    room.on('trackSubscribed', (track) => {
      const watch = track.kind === rtc.TrackKind.KIND_VIDEO ? watchVideo(rtc, track, seen) : watchAudio(rtc, track, seen);
      watch.then(done, reject);
    });
  });
  return within(complete);
}

async function watchVideo(rtc, track, seen) {
  for await (const { frame } of new rtc.VideoStream(track)) {
    Object.assign(seen, { frames: seen.frames + 1, width: frame.width, height: frame.height });
    if (seen.frames >= FRAMES) return;
  }
}

async function watchAudio(rtc, track, seen) {
  for await (const { data } of new rtc.AudioStream(track)) {
    const power = data.reduce((sum, sample) => sum + (sample / 32_768) ** 2, 0) / data.length;
    const loudness = 10 * Math.log10(power);
    if (loudness < -40) continue;
    seen.loudness = loudness;
    return;
  }
}

async function leaving(rtc, room, send) {
  const { identity } = room.localParticipant;
  const disconnected = once(room, 'disconnected');
  await send();
  const [reason] = await within(disconnected);
  show(`${identity} was disconnected: ${rtc.DisconnectReason[reason]}`);
}

/** Asks as a browser's client does where it could not connect. */
async function validate(what, { url, token }) {
  const { status } = await fetch(`${url.replace('ws', 'http')}/rtc/validate?access_token=${token}`);
  show(`GET /rtc/validate with ${what}: ${status}, ${status === 200 ? 'it opens the room' : 'it opens nothing'}`);
}

/** What the token says; its signature, and so the token, is never shown. */
function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
}

async function within(promise) {
  const late = pause(WAIT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('nothing came in time')));
  return Promise.race([promise, late]);
}

let steps = 0;
function step(title) {
  steps += 1;
  console.log(`\n${steps}. ${title}`);
}

function show(text) {
  console.log(`   ${text}`);
}

try {
  await ensureNodeModules();
  await ensureAddon();
  // LiveKit's client writes its own log lines unless it runs in production.
  process.env.NODE_ENV ??= 'production';
  const rtc = require('@livekit/rtc-node');
  const platform = require('../index.js').createPlatform({ provider: 'embedded', env: {} });
  try {
    console.log('A call in this very process: nothing is installed, nothing else runs.');
    await tell(platform.media, rtc);
  } finally {
    await platform.close();
    await rtc.dispose();
  }
  console.log('\nDone: the engine is closed, its ports are free.');
} catch (error) {
  process.exitCode = report(error);
}
