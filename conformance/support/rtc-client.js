'use strict';

// A participant with audio, video and data, using LiveKit's client for Node.

const { createHash } = require('node:crypto');
const rtc = require('./rtc.js');
const { eventually } = require('../../test-support/eventually.js');
const { Picture, Tone, moves, sounds } = require('./media.js');

/**
 * @typedef {{ from: string | undefined, topic: string, reliable: boolean, text: string }} Data Received data; long data as a digest.
 */

const POLL_MS = 20;
/** Data of more bytes is kept as a digest. */
const MAX_TEXT_BYTES = 64;

/** Data as text, or as its length and SHA-1. @param {Uint8Array} payload */
const digest = (payload) =>
  payload.length <= MAX_TEXT_BYTES ? Buffer.from(payload).toString() : `${payload.length} ${createHash('sha1').update(payload).digest('hex')}`;

class RtcClient {
  room = new rtc.Room();
  /** @type {Data[]} */
  inbox = [];
  /** Room events, as one short line each. @type {string[]} */
  events = [];
  /** Sources of its tracks. @type {(Tone | Picture)[]} */
  #sources = [];

  /** @param {string} identity */
  constructor(identity) {
    this.identity = identity;
    this.room.on('dataReceived', (payload, sender, kind, topic) => {
      const reliable = kind === rtc.DataPacketKind.KIND_RELIABLE;
      this.inbox.push({ from: sender?.identity, topic: topic ?? '', reliable, text: digest(payload) });
    });
    for (const [event, format] of Object.entries(EVENTS)) {
      this.room.on(/** @type {any} */ (event), (...args) => this.events.push(`${event} ${format(...args)}`.trim()));
    }
  }

  get me() {
    return /** @type {rtc.LocalParticipant} */ (this.room.localParticipant);
  }

  /** @param {string} url @param {string} token @param {Record<string, any>} [options] */
  connect(url, token, options) {
    return this.room.connect(url, token, { autoSubscribe: true, dynacast: false, ...options });
  }

  /** @param {string} topic @param {string | Uint8Array} data @param {import('@livekit/rtc-node').DataPublishOptions} [options] */
  send(topic, data, options) {
    return this.me.publishData(Buffer.from(data), { reliable: true, topic, ...options });
  }

  /** Publishes a tone. @param {string} [name] @param {rtc.TrackSource} [source] */
  publishAudio(name = 'voice', source = rtc.TrackSource.SOURCE_MICROPHONE) {
    return this.#publish(new Tone(name), source);
  }

  /** Publishes a picture of changing brightness. @param {string} [name] @param {rtc.TrackSource} [source] @param {Record<string, any>} [more] Further options. */
  publishVideo(name = 'face', source = rtc.TrackSource.SOURCE_CAMERA, more = {}) {
    return this.#publish(new Picture(name), source, more);
  }

  /** @param {Tone | Picture} media @param {rtc.TrackSource} source @param {Record<string, any>} [more] */
  async #publish(media, source, more) {
    this.#sources.push(media);
    const options = new rtc.TrackPublishOptions({ source, simulcast: false, ...more });
    return this.me.publishTrack(media.track, options);
  }

  async leave() {
    await this.room.disconnect();
    for (const source of this.#sources.splice(0)) await source.end();
  }

  /** Another participant's publication. @param {string} identity @param {string} name @returns {rtc.RemoteTrackPublication | undefined} */
  publication(identity, name) {
    const publications = this.room.remoteParticipants.get(identity)?.trackPublications.values() ?? [];
    return [...publications].find((publication) => publication.name === name);
  }

  /** Waits for audio of a track. @param {string} identity @param {string} [name] */
  receivesAudioOf(identity, name = 'voice') {
    return this.#waitFor(`receives audio of ${name} of ${identity}`, () => this.#detects(sounds, identity, name), is(true));
  }

  /** Waits until a track is silent. @param {string} identity @param {string} [name] */
  receivesNoAudioOf(identity, name = 'voice') {
    return this.#waitFor(`receives no audio of ${name} of ${identity}`, () => this.#detects(sounds, identity, name), is(false));
  }

  /** Waits for a picture that changes. @param {string} identity @param {string} [name] */
  receivesVideoOf(identity, name = 'face') {
    return this.#waitFor(`receives ${name} of ${identity}`, () => this.#detects(moves, identity, name), is(true));
  }

  /** @param {(track: any) => Promise<boolean>} detect @param {string} identity @param {string} name */
  async #detects(detect, identity, name) {
    const track = this.publication(identity, name)?.track;
    return track !== undefined && detect(track);
  }

  /** Waits until these are the messages of a topic. @param {string} topic @param {string[]} texts @param {{ within?: number }} [time] */
  receives(topic, texts, time) {
    const look = async () => this.inbox.filter((data) => data.topic === topic).map(({ text }) => text);
    return this.#waitFor(`receives ${topic}`, look, (received) => expect(received).toEqual(texts), time);
  }

  /** Waits for an event. @param {string} event @param {{ within?: number }} [time] */
  hasEvent(event, time) {
    return this.#waitFor(`has the event ${event}`, async () => this.events, (events) => expect(events).toContain(event), time);
  }

  /** Waits until `look` gives that value. @param {string} what @param {(client: RtcClient) => any} look @param {any} like @param {{ within?: number }} [time] */
  waitFor(what, look, like, time) {
    return this.#waitFor(what, async () => look(this), (state) => expect(state).toEqual(like), time);
  }

  /**
   * @template State
   * @param {string} what @param {() => Promise<State>} look @param {(state: State) => unknown} check @param {{ within?: number }} [time]
   */
  #waitFor(what, look, check, time) {
    return eventually(`${this.identity} ${what}`, look, check, { every: POLL_MS, ...time });
  }
}

/** @param {any} like */
const is = (like) => (/** @type {any} */ state) => expect(state).toEqual(like);

/** The publisher and the name of a track; the client may have forgotten the publication. @param {any} publication @param {any} participant */
const publisherAndName = (publication, participant) => `${participant.identity} ${publication?.name}`;

/** The arguments of each event as text. @type {Record<string, (...args: any[]) => string>} */
const EVENTS = {
  participantConnected: (participant) => participant.identity,
  participantDisconnected: (participant) => participant.identity,
  trackPublished: publisherAndName,
  trackUnpublished: publisherAndName,
  trackSubscribed: (_, publication, participant) => publisherAndName(publication, participant),
  trackUnsubscribed: (_, publication, participant) => publisherAndName(publication, participant),
  trackMuted: publisherAndName,
  trackUnmuted: publisherAndName,
  localTrackUnpublished: publisherAndName,
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

module.exports = { RtcClient, digest };
