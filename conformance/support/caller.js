'use strict';

// A participant with sound, pictures and data, by LiveKit's own client for Node.

const { createHash } = require('node:crypto');
const rtc = require('./rtc.js');
const { eventually } = require('../../test-support/eventually.js');
const { Picture, Tone, moves, sounds } = require('./media.js');

/**
 * @typedef {{ from: string | undefined, topic: string, reliable: boolean, text: string }} Mail What data has come. Long ones are digested.
 */

const POLL_MS = 20;
/** What is longer is not kept as text. */
const SHORT = 64;

/** A message as it is kept. @param {Uint8Array} payload */
const digest = (payload) =>
  payload.length <= SHORT ? Buffer.from(payload).toString() : `${payload.length} ${createHash('sha1').update(payload).digest('hex')}`;

class Caller {
  room = new rtc.Room();
  /** @type {Mail[]} */
  inbox = [];
  /** What has happened, one short line each. @type {string[]} */
  events = [];
  /** What it publishes, and what ends it. @type {(Tone | Picture)[]} */
  #sources = [];

  /** @param {string} identity */
  constructor(identity) {
    this.identity = identity;
    this.room.on('dataReceived', (payload, sender, kind, topic) => {
      const reliable = kind === rtc.DataPacketKind.KIND_RELIABLE;
      this.inbox.push({ from: sender?.identity, topic: topic ?? '', reliable, text: digest(payload) });
    });
    for (const [event, tell] of Object.entries(EVENTS)) {
      this.room.on(/** @type {any} */ (event), (...args) => this.events.push(`${event} ${tell(...args)}`.trim()));
    }
  }

  get me() {
    return /** @type {rtc.LocalParticipant} */ (this.room.localParticipant);
  }

  /** @param {string} url @param {string} token @param {Record<string, any>} [options] */
  connect(url, token, options) {
    return this.room.connect(url, token, { autoSubscribe: true, dynacast: false, ...options });
  }

  /** Sends data. @param {string} topic @param {string | Uint8Array} data @param {import('@livekit/rtc-node').DataPublishOptions} [options] */
  sends(topic, data, options) {
    return this.me.publishData(Buffer.from(data), { reliable: true, topic, ...options });
  }

  /** Publishes a tone. @param {string} [name] @param {rtc.TrackSource} [source] */
  speaks(name = 'voice', source = rtc.TrackSource.SOURCE_MICROPHONE) {
    return this.#publishes(new Tone(name), source);
  }

  /** Publishes video. @param {string} [name] @param {rtc.TrackSource} [source] @param {Record<string, any>} [more] Further options. */
  shows(name = 'face', source = rtc.TrackSource.SOURCE_CAMERA, more = {}) {
    return this.#publishes(new Picture(name), source, more);
  }

  /** @param {Tone | Picture} media @param {rtc.TrackSource} source @param {Record<string, any>} [more] */
  async #publishes(media, source, more) {
    this.#sources.push(media);
    const options = new rtc.TrackPublishOptions({ source, simulcast: false, ...more });
    return this.me.publishTrack(media.track, options);
  }

  async leaves() {
    await this.room.disconnect();
    for (const source of this.#sources.splice(0)) await source.end();
  }

  /** What of another's tracks has come. @param {string} identity @param {string} name @returns {rtc.RemoteTrackPublication | undefined} */
  publication(identity, name) {
    const publications = this.room.remoteParticipants.get(identity)?.trackPublications.values() ?? [];
    return [...publications].find((publication) => publication.name === name);
  }

  /** Waits for sound of a track. @param {string} identity @param {string} [name] */
  hears(identity, name = 'voice') {
    return this.#comes(`hears ${name} of ${identity}`, () => this.#perceives(sounds, identity, name), is(true));
  }

  /** Waits until a track sounds no more. @param {string} identity @param {string} [name] */
  hearsNothing(identity, name = 'voice') {
    return this.#comes(`hears nothing of ${name} of ${identity}`, () => this.#perceives(sounds, identity, name), is(false));
  }

  /** Waits for a moving picture. @param {string} identity @param {string} [name] */
  sees(identity, name = 'face') {
    return this.#comes(`sees ${name} of ${identity}`, () => this.#perceives(moves, identity, name), is(true));
  }

  /** @param {(track: any) => Promise<boolean>} sense @param {string} identity @param {string} name */
  async #perceives(sense, identity, name) {
    const track = this.publication(identity, name)?.track;
    return track !== undefined && sense(track);
  }

  /** Waits until the messages of a topic are these. @param {string} topic @param {string[]} texts @param {{ within?: number }} [time] */
  receives(topic, texts, time) {
    const look = async () => this.inbox.filter((mail) => mail.topic === topic).map(({ text }) => text);
    return this.#comes(`receives ${topic}`, look, (had) => expect(had).toEqual(texts), time);
  }

  /** Waits until that has happened. @param {string} event @param {{ within?: number }} [time] */
  notes(event, time) {
    return this.#comes(`notes ${event}`, async () => this.events, (events) => expect(events).toContain(event), time);
  }

  /** Waits until something is so. @param {string} what @param {(caller: Caller) => any} look @param {any} like @param {{ within?: number }} [time] */
  comesTo(what, look, like, time) {
    return this.#comes(what, async () => look(this), (state) => expect(state).toEqual(like), time);
  }

  /**
   * @template State
   * @param {string} what @param {() => Promise<State>} look @param {(state: State) => unknown} check @param {{ within?: number }} [time]
   */
  #comes(what, look, check, time) {
    return eventually(`${this.identity} ${what}`, look, check, { every: POLL_MS, ...time });
  }
}

/** @param {any} like */
const is = (like) => (/** @type {any} */ state) => expect(state).toEqual(like);

/** Whose track it is, and its name, unless the client has forgotten it already. @param {any} publication @param {any} participant */
const named = (publication, participant) => `${participant.identity} ${publication?.name}`;

/** What is kept of an event. @type {Record<string, (...args: any[]) => string>} */
const EVENTS = {
  participantConnected: (participant) => participant.identity,
  participantDisconnected: (participant) => participant.identity,
  trackPublished: named,
  trackUnpublished: named,
  trackSubscribed: (_, publication, participant) => named(publication, participant),
  trackUnsubscribed: (_, publication, participant) => named(publication, participant),
  trackMuted: named,
  trackUnmuted: named,
  localTrackUnpublished: named,
  localTrackSubscribed: (track) => track.info.name,
  activeSpeakersChanged: (speakers) => speakers.map(({ identity }) => identity).join(),
  connectionQualityChanged: (quality, participant) => `${participant.identity} ${rtc.ConnectionQuality[quality]}`,
  roomMetadataChanged: (metadata) => metadata,
  participantMetadataChanged: (metadata, participant) => `${participant.identity} ${participant.metadata}`,
  participantNameChanged: (name, participant) => `${participant.identity} ${name}`,
  participantAttributesChanged: (changed, participant) => `${participant.identity} ${JSON.stringify(changed)}`,
  disconnected: (reason) => rtc.DisconnectReason[reason],
  reconnecting: () => '',
  reconnected: () => '',
};

module.exports = { Caller, digest };
