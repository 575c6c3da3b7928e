'use strict';

// A participant in a browser.

const { eventually } = require('../../test-support/eventually.js');

/**
 * @typedef {import('puppeteer-core').Page} Page
 * @typedef {object} Published A track to publish: of a fake device, or of a colour or a tone that the page makes.
 * @property {'camera' | 'microphone' | 'paint' | 'sound'} what
 * @property {Record<string, any>} [capture] Capture options.
 * @property {Record<string, any>} [options] Publish options.
 */

/**
 * @typedef {object} Sample State and statistics of a track.
 * @property {string} id Changes when the statistics restart.
 * @property {number} frames Decoded.
 * @property {number} width
 * @property {number} height
 * @property {number} energy Total audio energy.
 * @property {number} packets
 * @property {number} bytes In all packets.
 * @property {string} [codec]
 * @property {string} [fmtp]
 * @property {number} shown Width of the picture on the page.
 * @property {number} brightness
 * @property {number[]} colour
 * @property {number} print Hash of the picture.
 * @property {any} [why] State of an element without a picture.
 */

/** Two cores encode and decode everything, so pictures are small by default. */
const SMALL = { resolution: { width: 320, height: 180, frameRate: 10 } };
/** Audio processing takes CPU time from the video. */
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const camera = (options, capture = SMALL) => ({ what: 'camera', capture, options: { simulcast: false, ...options } });
/** The bandwidth estimate grows by 8 % per second, and restarts when a busy machine sends late: all layers together fit its start value. */
const encoding = (/** @type {number} */ maxBitrate) => ({ maxBitrate, maxFramerate: 10 });
const bitrates = {
  videoEncoding: encoding(250_000),
  videoSimulcastLayers: [
    { width: 320, height: 180, encoding: encoding(60_000) },
    { width: 640, height: 360, encoding: encoding(120_000) },
  ],
};
const LARGE = { resolution: { width: 960, height: 540, frameRate: 10 } };
/** With other preferences Chromium reduces the resolution when the CPU is busy. */
const KEEP_RESOLUTION = { degradationPreference: 'maintain-resolution' };
/** Layers of 320, 640 and 960 pixels width. @param {Record<string, any>} [options] */
const inThreeLayers = (options) => camera({ simulcast: true, ...KEEP_RESOLUTION, ...bitrates, ...options }, LARGE);
/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const microphone = (options, capture = RAW) => ({ what: 'microphone', capture, options });
/** @param {string} colour @param {Record<string, any>} [options] @returns {Published} */
const paint = (colour, options) => ({ what: 'paint', capture: { colour }, options: { simulcast: false, name: 'paint', ...options } });
/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const sound = (options, capture) => ({ what: 'sound', capture, options: { name: 'sound', ...options } });
const DEVICES = { camera: camera(), microphone: microphone() };

/** Minimum new frames of a received video. */
const MIN_FRAMES = 4;
const MIN_BRIGHTNESS = 16;
/** Minimum new audio energy of a received track; a beep of a fake microphone has a hundred times as much. */
const MIN_ENERGY = 1e-5;
/** Within this time every fake microphone beeps and every fake camera changes its picture. */
const STILL_MS = 1200;

class Participant {
  /** @param {string} identity @param {Page} page */
  constructor(identity, page) {
    this.identity = identity;
    this.page = page;
  }

  /** Crashes the page's process, in Chromium: the server receives no leave. */
  async crash() {
    const crashed = new Promise((resolve) => this.page.once('error', resolve));
    const session = await this.page.createCDPSession();
    // A crashed page does not respond.
    session.send('Page.crash').catch(() => {});
    await crashed;
  }

  /**
   * Runs a function in the page. It is sent as text, so it can use only its arguments.
   * @template {any[]} Args
   * @param {(here: any, ...args: Args) => any} action
   * @param {Args} args
   * @returns {Promise<any>} Its value, as JSON.
   */
  async run(action, ...args) {
    const { value, error } = await this.attempt(action, ...args);
    if (error) throw Object.assign(new Error(`${this.identity}: ${error.name}: ${error.message}`), { details: error });
    return value;
  }

  /**
   * As {@link run}, but gives the error instead of throwing it.
   * @template {any[]} Args
   * @param {(here: any, ...args: Args) => any} action
   * @param {Args} args
   * @returns {Promise<{ value?: any, error?: { name: string, message: string, code?: number, status?: number, reason?: string } }>}
   */
  async attempt(action, ...args) {
    const json = await this.page.evaluate(`here.attempt(${action}, ${JSON.stringify(args)}).then(JSON.stringify)`);
    return JSON.parse(/** @type {string} */ (json));
  }

  /** @param {('camera' | 'microphone' | Published)[]} all */
  async publish(...all) {
    for (const each of all) {
      const { what, capture = {}, options = {} } = typeof each === 'string' ? DEVICES[each] : each;
      await this.run((here, what, capture, options) => here.publish(what, capture, options), what, capture, options);
    }
  }

  /** @param {'camera' | 'microphone' | string} source */
  mute(source) {
    return this.run((here, source) => here.publication(here.me.identity, source).mute().then(() => {}), source);
  }

  /** @param {'camera' | 'microphone' | string} source */
  unmute(source) {
    return this.run((here, source) => here.publication(here.me.identity, source).unmute().then(() => {}), source);
  }

  /** @param {string} source */
  unpublish(source) {
    return this.run((here, source) => here.me.unpublishTrack(here.publication(here.me.identity, source).track).then(() => {}), source);
  }

  leave() {
    return this.run((here) => here.room.disconnect());
  }

  /** Its state of the room. @returns {Promise<any>} */
  state() {
    return this.run((here) => here.state());
  }

  /** Its room events, as one short line each. @returns {Promise<string[]>} */
  events() {
    return this.run((here) => here.events);
  }

  /**
   * Waits until its state of the room matches.
   * @param {Record<string, any>} expected
   * @param {{ within?: number }} [time]
   */
  seesState(expected, time) {
    const look = () => this.state();
    return eventually(`${this.identity} sees the state`, look, (state) => expect(state).toMatchObject(expected), time);
  }

  /** Waits until its state of another participant matches. @param {string} other @param {Record<string, any>} expected @param {{ within?: number }} [time] */
  seesStateOf(other, expected, time) {
    return this.seesState({ others: { [other]: expected } }, time);
  }

  /** Waits until another participant is gone. @param {string} other @param {{ within?: number }} [time] */
  hasLost(other, time) {
    const look = () => this.state();
    return eventually(`${this.identity} has lost ${other}`, look, ({ others }) => expect(Object.keys(others)).not.toContain(other), time);
  }

  /** Waits until tracks of another participant are gone: those of the sources, or all. @param {string} other @param {string[]} [sources] */
  hasLostTracksOf(other, sources) {
    const look = async () => Object.keys((await this.state()).others[other]?.tracks ?? {});
    const check = (/** @type {string[]} */ present) => expect(present.filter((source) => !sources || sources.includes(source))).toEqual([]);
    return eventually(`${this.identity} has lost the tracks of ${other}`, look, check);
  }

  /** Waits for events, in any order. @param {string[]} expected @param {{ within?: number }} [time] */
  hasEvents(expected, time) {
    const look = () => this.events();
    return eventually(`${this.identity} has the events`, look, (events) => expect(events).toEqual(expect.arrayContaining(expected)), time);
  }

  /** Waits for messages, in any order. @param {any[]} expected @param {{ within?: number }} [time] */
  receives(expected, time) {
    const look = () => this.run((here) => here.inbox);
    return eventually(`${this.identity} receives`, look, (inbox) => expect(inbox).toEqual(expect.arrayContaining(expected)), time);
  }

  /** @param {string} other @param {string} source @returns {Promise<Sample>} */
  watch(other, source) {
    return this.run((here, other, source) => here.watch(other, source), other, source);
  }

  /**
   * Waits until new frames are decoded, and the picture is neither dark nor still.
   * @param {string} other
   * @param {string} [source]
   * @param {{ within?: number, like?: Record<string, any> }} [how] `like`: what the sample must also match.
   * @returns {Promise<Sample>}
   */
  async receivesVideoOf(other, source = 'camera', { within, like = {} } = {}) {
    /** @type {Sample | undefined} */
    let first;
    const look = async () => {
      const sample = await this.watch(other, source);
      if (first?.id !== sample.id) first = sample;
      return sample;
    };
    const check = (/** @type {Sample} */ sample) => {
      expect({ ...sample, more: sample.frames - (first?.frames ?? 0) }).toMatchObject({ ...like, more: expect.atLeast(MIN_FRAMES) });
      expect(sample).toMatchObject({ brightness: expect.atLeast(MIN_BRIGHTNESS), print: expect.not.same(first?.print) });
    };
    return eventually(`${this.identity} receives the ${source} of ${other}`, look, check, { within });
  }

  /** Waits for new audio energy. @param {string} other @param {string} [source] @param {{ within?: number, like?: Record<string, any> }} [how] @returns {Promise<Sample>} */
  async receivesAudioOf(other, source = 'microphone', { within, like = {} } = {}) {
    /** @type {Sample | undefined} */
    let first;
    const look = async () => {
      const sample = await this.watch(other, source);
      if (first?.id !== sample.id) first = sample;
      return sample;
    };
    const check = (/** @type {Sample} */ sample) =>
      expect({ ...sample, more: sample.energy - (first?.energy ?? 0) }).toMatchObject({ ...like, more: expect.atLeast(MIN_ENERGY) });
    return eventually(`${this.identity} receives the ${source} of ${other}`, look, check, { within });
  }

  /** Waits for camera and microphone at the same time. @param {string} other @param {{ within?: number }} [time] */
  receivesMediaOf(other, time) {
    return Promise.all([this.receivesVideoOf(other, 'camera', time), this.receivesAudioOf(other, 'microphone', time)]);
  }

  /** Waits until no more frames are decoded. @param {string} other @param {string} [source] @param {{ within?: number }} [time] */
  receivesNoVideoOf(other, source = 'camera', time = {}) {
    return this.#stops(`${this.identity} receives no ${source} of ${other}`, other, source, ({ frames }) => frames, 0, time);
  }

  /** Waits until the audio is silent. @param {string} other @param {string} [source] @param {{ within?: number }} [time] */
  receivesNoAudioOf(other, source = 'microphone', time = {}) {
    return this.#stops(`${this.identity} receives no ${source} of ${other}`, other, source, ({ energy }) => energy, MIN_ENERGY / 10, time);
  }

  /**
   * @param {string} what
   * @param {string} other
   * @param {string} source
   * @param {(sample: Sample) => number} count
   * @param {number} max
   * @param {{ within?: number }} time
   */
  async #stops(what, other, source, count, max, time) {
    let before = await this.watch(other, source);
    const look = async () => {
      const sample = await this.watch(other, source);
      const more = sample.id === before.id ? count(sample) - count(before) : Infinity;
      before = sample;
      return { ...sample, more };
    };
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    return eventually(what, look, (sample) => expect(sample).toMatchObject({ more: expect.atMost(max) }), { ...time, every: STILL_MS });
  }
}

module.exports = { KEEP_RESOLUTION, Participant, SMALL, camera, inThreeLayers, microphone, paint, sound };
