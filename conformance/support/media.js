'use strict';

// Sound and pictures that can be told from nothing.

const rtc = require('./rtc.js');
const { pause } = require('../../test-support/eventually.js');

/** How long is listened to a track at a time: it may give way to another. */
const LISTENED_MS = 1_000;
const RATE = 48_000;
const FRAME_MS = 10;
const FRAME_SAMPLES = (RATE * FRAME_MS) / 1_000;
const TONE_HZ = 440;
/** Of 32,767. What the codec leaves of silence is far below. */
const LOUD = 1_000;
const [WIDTH, HEIGHT, PICTURE_MS] = [320, 180, 66];
/** How bright the darkest and the brightest picture are. */
const [DARK, BRIGHT] = [64, 192];

/** A tone that goes on until it is ended. */
class Tone {
  // Without a queue: rtc-node 1.1 frees that while it still plays from it, and once in a while the process aborts.
  #source = new rtc.AudioSource(RATE, 1, 0);
  #isOver = false;

  /** @param {string} name */
  constructor(name) {
    this.track = rtc.LocalAudioTrack.createAudioTrack(name, this.#source);
    this.#played = this.#play();
  }

  #played;

  async #play() {
    const begun = performance.now();
    for (let frames = 0; !this.#isOver; frames += 1) {
      const wave = (_, index) => LOUD * 10 * Math.sin((2 * Math.PI * TONE_HZ * (frames * FRAME_SAMPLES + index)) / RATE);
      const samples = Int16Array.from({ length: FRAME_SAMPLES }, wave);
      await this.#source.captureFrame(new rtc.AudioFrame(samples, RATE, 1, FRAME_SAMPLES));
      await pause(Math.max(0, begun + (frames + 1) * FRAME_MS - performance.now()));
    }
  }

  async end() {
    this.#isOver = true;
    await this.#played;
    await this.track.close();
  }
}

/** A grey picture that becomes brighter and darker, until it is ended. */
class Picture {
  #source = new rtc.VideoSource(WIDTH, HEIGHT);
  #shown = 0;
  #timer = setInterval(() => this.#show(), PICTURE_MS);

  /** @param {string} name */
  constructor(name) {
    this.track = rtc.LocalVideoTrack.createVideoTrack(name, this.#source);
  }

  #show() {
    const pixels = Buffer.alloc((WIDTH * HEIGHT * 3) / 2, 128);
    this.#shown += 1;
    pixels.fill(DARK + ((this.#shown * 16) % (BRIGHT - DARK)), 0, WIDTH * HEIGHT);
    this.#source.captureFrame(new rtc.VideoFrame(pixels, WIDTH, HEIGHT, rtc.VideoBufferType.I420));
  }

  async end() {
    clearInterval(this.#timer);
    await this.track.close();
  }
}

/**
 * Reads until something is as it should be; whether that comes in time.
 * @param {ReadableStream<any>} stream @param {(part: any) => boolean} is @param {number} within Milliseconds.
 */
async function readsUntil(stream, is, within) {
  const reader = stream.getReader();
  const late = pause(within).then(() => ({ done: true, value: undefined }));
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return false;
      if (is(value)) return true;
    }
  } finally {
    await reader.cancel();
  }
}

/** Whether a track sounds within that time. @param {rtc.RemoteAudioTrack} track @param {number} [within] */
function sounds(track, within = LISTENED_MS) {
  return readsUntil(new rtc.AudioStream(track, RATE, 1), ({ data }) => data.some((sample) => sample > LOUD), within);
}

/** Whether a track shows two different pictures within that time. @param {rtc.RemoteVideoTrack} track @param {number} [within] */
function moves(track, within = LISTENED_MS) {
  /** @type {number | undefined} */
  let before;
  const isAnother = ({ frame }) => {
    const [brightness] = frame.convert(rtc.VideoBufferType.I420).data;
    const isBright = brightness > DARK / 2;
    const differs = isBright && before !== undefined && Math.abs(brightness - before) > 4;
    if (isBright) before = brightness;
    return differs;
  };
  return readsUntil(new rtc.VideoStream(track), isAnother, within);
}

module.exports = { Picture, Tone, moves, sounds };
