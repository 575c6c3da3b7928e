'use strict';

// Test audio and video that differ from silence and from a black picture.

const rtc = require('./rtc.js');
const { pause } = require('../../test-support/eventually.js');

/** How long a track is sampled at a time. */
const SAMPLED_MS = 1_000;
const RATE = 48_000;
const FRAME_MS = 10;
const FRAME_SAMPLES = (RATE * FRAME_MS) / 1_000;
const TONE_HZ = 440;
/** Minimum sample of audio that is not silence, of 32,767. Codec noise is far below. */
const LOUD = 1_000;
const [WIDTH, HEIGHT, PICTURE_MS] = [320, 180, 66];
/** Brightness of the darkest and the brightest picture. */
const [DARK, BRIGHT] = [64, 192];

/** An endless tone. */
class Tone {
  // Without a queue: rtc-node 1.1 frees its queue while it still plays from it, and the process sometimes aborts.
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

/** A grey picture of changing brightness. */
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
 * Reads a stream until a part fits. Gives whether one did in time.
 * @param {ReadableStream<any>} stream @param {(part: any) => boolean} fits @param {number} within Milliseconds.
 */
async function readUntil(stream, fits, within) {
  const reader = stream.getReader();
  const late = pause(within).then(() => ({ done: true, value: undefined }));
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return false;
      if (fits(value)) return true;
    }
  } finally {
    await reader.cancel();
  }
}

/** Whether a track has audio within that time. @param {rtc.RemoteAudioTrack} track @param {number} [within] */
function sounds(track, within = SAMPLED_MS) {
  return readUntil(new rtc.AudioStream(track, RATE, 1), ({ data }) => data.some((sample) => sample > LOUD), within);
}

/** Whether a track shows two different pictures within that time. @param {rtc.RemoteVideoTrack} track @param {number} [within] */
function moves(track, within = SAMPLED_MS) {
  /** @type {number | undefined} */
  let before;
  const isAnother = ({ frame }) => {
    const [brightness] = frame.convert(rtc.VideoBufferType.I420).data;
    const isBright = brightness > DARK / 2;
    const differs = isBright && before !== undefined && Math.abs(brightness - before) > 4;
    if (isBright) before = brightness;
    return differs;
  };
  return readUntil(new rtc.VideoStream(track), isAnother, within);
}

module.exports = { Picture, Tone, moves, sounds };
