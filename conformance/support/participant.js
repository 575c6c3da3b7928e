'use strict';

// A participant in a browser, as the tests speak of one.

const { eventually } = require('../../test-support/eventually.js');

/**
 * @typedef {import('puppeteer-core').Page} Page
 * @typedef {object} Published What is published: a fake device, or a colour or a tone that the page makes itself.
 * @property {'camera' | 'microphone' | 'paint' | 'sound'} what
 * @property {Record<string, any>} [capture] How it is captured.
 * @property {Record<string, any>} [options] How it is published.
 */

/**
 * @typedef {object} Seen
 * @property {string} id Another one when the frames are counted anew.
 * @property {number} frames Decoded.
 * @property {number} width
 * @property {number} height
 * @property {number} energy Of the sound, since its beginning.
 * @property {number} packets
 * @property {number} bytes In all packets.
 * @property {string} [codec]
 * @property {string} [fmtp]
 * @property {number} shown How wide the picture on the page is.
 * @property {number} brightness
 * @property {number[]} colour
 * @property {number} print Another one when the picture is.
 * @property {any} [why] What there is in place of a picture.
 */

/** Two cores encode and decode everything: pictures are small, unless a test needs them larger. */
const SMALL = { resolution: { width: 320, height: 180, frameRate: 10 } };
/** There is no echo, and what looks for one takes time from the pictures. */
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const camera = (options, capture = SMALL) => ({ what: 'camera', capture, options: { simulcast: false, ...options } });
/** An estimate grows by 8 % a second, and begins anew whenever a busy machine sends late: all sizes together need little more than its beginning. */
const encoding = (/** @type {number} */ maxBitrate) => ({ maxBitrate, maxFramerate: 10 });
const bitrates = {
  videoEncoding: encoding(250_000),
  videoSimulcastLayers: [
    { width: 320, height: 180, encoding: encoding(60_000) },
    { width: 640, height: 360, encoding: encoding(120_000) },
  ],
};
const LARGE = { resolution: { width: 960, height: 540, frameRate: 10 } };
/** With any other preference Chromium itself takes a smaller picture where the processor is busy. */
const AS_LARGE = { degradationPreference: 'maintain-resolution' };
/** 320, 640 and 960 pixels wide. @param {Record<string, any>} [options] */
const inThreeSizes = (options) => camera({ simulcast: true, ...AS_LARGE, ...bitrates, ...options }, LARGE);
/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const microphone = (options, capture = RAW) => ({ what: 'microphone', capture, options });
/** @param {string} colour @param {Record<string, any>} [options] @returns {Published} */
const paint = (colour, options) => ({ what: 'paint', capture: { colour }, options: { simulcast: false, name: 'paint', ...options } });
/** @param {Record<string, any>} [options] @param {Record<string, any>} [capture] @returns {Published} */
const sound = (options, capture) => ({ what: 'sound', capture, options: { name: 'sound', ...options } });
const DEVICES = { camera: camera(), microphone: microphone() };

const FRAMES = 4;
const DARK = 16;
/** A beep of a fake microphone has a hundred times as much. */
const ENERGY = 1e-5;
/** Every fake microphone sounds at least once in that time, every fake camera shows another picture. */
const STILL_MS = 1200;

class Participant {
  /** @param {string} identity @param {Page} page */
  constructor(identity, page) {
    this.identity = identity;
    this.page = page;
  }

  /** Its page's process dies, in Chromium: nothing is said to the server. */
  async crash() {
    const crashed = new Promise((resolve) => this.page.once('error', resolve));
    const session = await this.page.createCDPSession();
    // A dead page does not answer.
    session.send('Page.crash').catch(() => {});
    await crashed;
  }

  /**
   * Does something in the page. The action is sent as text: it knows nothing but its arguments.
   * @template {any[]} Args
   * @param {(here: any, ...args: Args) => any} action
   * @param {Args} args
   * @returns {Promise<any>} What it gives, as JSON.
   */
  async run(action, ...args) {
    const { value, error } = await this.attempt(action, ...args);
    if (error) throw Object.assign(new Error(`${this.identity}: ${error.name}: ${error.message}`), { told: error });
    return value;
  }

  /**
   * As {@link run}, but an error is part of what it gives.
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
  async publishes(...all) {
    for (const each of all) {
      const { what, capture = {}, options = {} } = typeof each === 'string' ? DEVICES[each] : each;
      await this.run((here, what, capture, options) => here.publish(what, capture, options), what, capture, options);
    }
  }

  /** @param {'camera' | 'microphone' | string} source */
  mutes(source) {
    return this.run((here, source) => here.of(here.me.identity, source).mute().then(() => {}), source);
  }

  /** @param {'camera' | 'microphone' | string} source */
  unmutes(source) {
    return this.run((here, source) => here.of(here.me.identity, source).unmute().then(() => {}), source);
  }

  /** @param {string} source */
  unpublishes(source) {
    return this.run((here, source) => here.me.unpublishTrack(here.of(here.me.identity, source).track).then(() => {}), source);
  }

  leaves() {
    return this.run((here) => here.room.disconnect());
  }

  /** What it knows of the room. @returns {Promise<any>} */
  state() {
    return this.run((here) => here.state());
  }

  /** What has happened to it, one short line each. @returns {Promise<string[]>} */
  events() {
    return this.run((here) => here.events);
  }

  /**
   * It comes to know of the room what is expected, as `toMatchObject` has it.
   * @param {Record<string, any>} expected
   * @param {{ within?: number }} [time]
   */
  knows(expected, time) {
    const look = () => this.state();
    return eventually(`${this.identity} knows`, look, (state) => expect(state).toMatchObject(expected), time);
  }

  /** The same of another participant. @param {string} other @param {Record<string, any>} expected @param {{ within?: number }} [time] */
  knowsOf(other, expected, time) {
    return this.knows({ others: { [other]: expected } }, time);
  }

  /** @param {string} other @param {{ within?: number }} [time] */
  missesNobodyBut(other, time) {
    const look = () => this.state();
    return eventually(`${this.identity} no longer has ${other}`, look, ({ others }) => expect(Object.keys(others)).not.toContain(other), time);
  }

  /** Tracks of another are gone: those of these sources, or all. @param {string} other @param {string[]} [sources] */
  missesTracksOf(other, sources) {
    const look = async () => Object.keys((await this.state()).others[other]?.tracks ?? {});
    const check = (/** @type {string[]} */ there) => expect(there.filter((source) => !sources || sources.includes(source))).toEqual([]);
    return eventually(`${this.identity} no longer has tracks of ${other}`, look, check);
  }

  /** These lines come to be among what has happened. @param {string[]} expected @param {{ within?: number }} [time] */
  lives(expected, time) {
    const look = () => this.events();
    return eventually(`${this.identity} lives`, look, (events) => expect(events).toEqual(expect.arrayContaining(expected)), time);
  }

  /** What has come, without order. @param {any[]} expected @param {{ within?: number }} [time] */
  receives(expected, time) {
    const look = () => this.run((here) => here.inbox);
    return eventually(`${this.identity} receives`, look, (inbox) => expect(inbox).toEqual(expect.arrayContaining(expected)), time);
  }

  /** @param {string} other @param {string} source @returns {Promise<Seen>} */
  watch(other, source) {
    return this.run((here, other, source) => here.watch(other, source), other, source);
  }

  /**
   * Frames are decoded, and the picture is neither dark nor still.
   * @param {string} other
   * @param {string} [source]
   * @param {{ within?: number, like?: Record<string, any> }} [how] `like`: what it must also be like.
   * @returns {Promise<Seen>}
   */
  async seesVideoOf(other, source = 'camera', { within, like = {} } = {}) {
    /** @type {Seen | undefined} */
    let first;
    const look = async () => {
      const seen = await this.watch(other, source);
      if (first?.id !== seen.id) first = seen;
      return seen;
    };
    const check = (/** @type {Seen} */ seen) => {
      expect({ ...seen, more: seen.frames - (first?.frames ?? 0) }).toMatchObject({ ...like, more: expect.atLeast(FRAMES) });
      expect(seen).toMatchObject({ brightness: expect.atLeast(DARK), print: expect.not.same(first?.print) });
    };
    return eventually(`${this.identity} sees the ${source} of ${other}`, look, check, { within });
  }

  /** @param {string} other @param {string} [source] @param {{ within?: number, like?: Record<string, any> }} [how] @returns {Promise<Seen>} */
  async hears(other, source = 'microphone', { within, like = {} } = {}) {
    /** @type {Seen | undefined} */
    let first;
    const look = async () => {
      const heard = await this.watch(other, source);
      if (first?.id !== heard.id) first = heard;
      return heard;
    };
    const check = (/** @type {Seen} */ heard) =>
      expect({ ...heard, more: heard.energy - (first?.energy ?? 0) }).toMatchObject({ ...like, more: expect.atLeast(ENERGY) });
    return eventually(`${this.identity} hears the ${source} of ${other}`, look, check, { within });
  }

  /** The camera and the microphone of another, watched at once. @param {string} other @param {{ within?: number }} [time] */
  seesAndHears(other, time) {
    return Promise.all([this.seesVideoOf(other, 'camera', time), this.hears(other, 'microphone', time)]);
  }

  /** No frame more is decoded. @param {string} other @param {string} [source] @param {{ within?: number }} [time] */
  seesNoVideoOf(other, source = 'camera', time = {}) {
    return this.#staysStill(`${this.identity} sees nothing of the ${source} of ${other}`, other, source, ({ frames }) => frames, 0, time);
  }

  /** @param {string} other @param {string} [source] @param {{ within?: number }} [time] */
  hearsNothingOf(other, source = 'microphone', time = {}) {
    return this.#staysStill(`${this.identity} hears no ${source} of ${other}`, other, source, ({ energy }) => energy, ENERGY / 10, time);
  }

  /**
   * @param {string} what
   * @param {string} other
   * @param {string} source
   * @param {(seen: Seen) => number} count
   * @param {number} most
   * @param {{ within?: number }} time
   */
  async #staysStill(what, other, source, count, most, time) {
    let before = await this.watch(other, source);
    const look = async () => {
      const seen = await this.watch(other, source);
      const more = seen.id === before.id ? count(seen) - count(before) : Infinity;
      before = seen;
      return { ...seen, more };
    };
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    return eventually(what, look, (seen) => expect(seen).toMatchObject({ more: expect.atMost(most) }), { ...time, every: STILL_MS });
  }
}

module.exports = { AS_LARGE, Participant, SMALL, camera, inThreeSizes, microphone, paint, sound };
