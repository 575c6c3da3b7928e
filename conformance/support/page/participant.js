'use strict';

// The participant of this page. Tests reach it through `here`.

(() => {
  const { media, state } = window;
  /** First byte of a SignalRequest that is an SDP answer: field 2. */
  const ANSWER = 0x12;
  const client = window.LivekitClient;
  const sockets = [];
  const events = [];
  const inbox = [];
  const here = { client, room: undefined, me: undefined, keys: undefined, events, inbox, lost: 0 };
  let dropsAnswers = false;

  // Keeps the sockets, so that a test can cut the signal connection or drop answers without a message to livekit-client.
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }

    send(message) {
      if (dropsAnswers && new Uint8Array(message)[0] === ANSWER) here.lost += 1;
      else super.send(message);
    }
  };

  /** @param {any} track */
  function play(track) {
    const element = track.attach();
    Object.assign(element.style, { width: '160px', height: '90px' });
    document.body.append(element);
  }

  /** Plays all subscribed tracks, because browsers don't decode a track that isn't played. @param {any} room */
  function playAll(room) {
    room.on(client.RoomEvent.TrackSubscribed, play);
    room.on(client.RoomEvent.TrackUnsubscribed, (track) => {
      for (const element of track.detach()) element.remove();
    });
  }

  /** @param {any} room */
  function collectMessages(room) {
    const text = (bytes) => new TextDecoder().decode(bytes);
    room.on(client.RoomEvent.DataReceived, (bytes, participant, kind, topic) => {
      inbox.push({ data: text(bytes), from: participant?.identity, kind: client.DataPacket_Kind[kind], topic });
    });
    room.registerTextStreamHandler('text', async (reader, { identity }) => {
      inbox.push({ text: await reader.readAll(), from: identity, attributes: reader.info.attributes });
    });
    room.registerByteStreamHandler('file', async (reader, { identity }) => {
      const file = new Blob(await reader.readAll());
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()));
      const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      inbox.push({ file: reader.info.name, type: reader.info.mimeType, size: file.size, sha256, from: identity });
    });
  }

  /** The fields of an error that are sent to the test. @param {any} error */
  const toJson = ({ name, message, code, status, reason, reasonName }) => ({ name, message, code, status, reason: reasonName ?? reason });

  /**
   * @param {string} url
   * @param {string} token
   * @param {{ options?: object, connect?: object, key?: string }} how
   */
  here.join = async (url, token, { options = {}, connect = {}, key } = {}) => {
    const all = { ...options };
    if (key !== undefined) {
      here.keys = new client.ExternalE2EEKeyProvider();
      await here.keys.setKey(key);
      all.encryption = { keyProvider: here.keys, worker: new Worker('/livekit-client.e2ee.worker.js') };
    }
    const room = new client.Room(all);
    Object.assign(here, { room, me: room.localParticipant });
    state.collectEvents(room, events);
    playAll(room);
    collectMessages(room);
    if (key !== undefined) await room.setE2EEEnabled(true);
    await room.connect(url, token, connect);
  };

  /**
   * @param {'camera' | 'microphone' | 'paint' | 'sound'} what A fake device, or a track that the page makes.
   * @param {object} [capture]
   * @param {object} [options]
   */
  here.publish = async (what, capture = {}, options = {}) => {
    const { me } = here;
    if (what === 'camera') await me.setCameraEnabled(true, capture, options);
    else if (what === 'microphone') await me.setMicrophoneEnabled(true, capture, options);
    else if (what === 'paint') await me.publishTrack(media.paint(capture.colour, capture), options);
    else await me.publishTrack(media.sound(capture), options);
  };

  const sources = new Map();
  /** The page's own track of that kind: the same one in each call. @param {'paint' | 'sound'} what */
  here.source = (what) => {
    if (!sources.has(what)) sources.set(what, what === 'paint' ? media.paint('lime') : media.sound());
    return sources.get(what);
  };

  /** A participant's publication by source, or else by name. @param {string} identity @param {string} source */
  const find = (identity, source) => {
    const participant = identity === here.me.identity ? here.me : here.room.remoteParticipants.get(identity);
    return participant?.getTrackPublication(source) ?? participant?.getTrackPublicationByName(source);
  };

  /** @param {string} identity @param {string} source @returns {any} */
  here.publication = (identity, source) => {
    const publication = find(identity, source);
    if (publication) return publication;
    throw new Error(`${here.me.identity} has no ${source} of ${identity}`);
  };

  /** State and statistics of a track. @param {string} identity @param {string} source */
  here.watch = async (identity, source) => {
    const publication = find(identity, source);
    const track = publication?.track;
    // If a track arrives right after Reconnected, livekit-client 2.22 does not emit TrackSubscribed for it: it still holds such events
    // back, and has already released the held ones.
    if (events.includes('reconnected') && identity !== here.me.identity && track?.attachedElements.length === 0) play(track);
    return {
      connection: here.room.state,
      isPublished: publication !== undefined,
      isSubscribed: publication?.isSubscribed,
      isMuted: publication?.isMuted,
      ...(await media.received(track)),
      ...(publication?.kind === 'video' && media.look(track?.attachedElements[0])),
    };
  };

  /** Transport of the published tracks. */
  here.path = () => media.path(here.room.engine.pcManager.publisher.pc);

  /** Number of media sections in the local descriptions. */
  here.sections = () => {
    const { publisher, subscriber } = here.room.engine.pcManager;
    const count = (transport) => (transport?.pc.localDescription?.sdp ?? '').split('\nm=').length - 1;
    return { publisher: count(publisher), subscriber: count(subscriber) };
  };

  /** Level on the left and on the right channel. @param {string} identity @param {string} source */
  here.levels = (identity, source) => media.levels(here.publication(identity, source).track.mediaStreamTrack);

  /** Sets the width of a track's elements; 0 hides them. @param {string} identity @param {string} source @param {number} width */
  here.resize = (identity, source, width) => {
    for (const element of here.publication(identity, source).track.attachedElements) {
      Object.assign(element.style, { display: width === 0 ? 'none' : 'block', width: `${width}px`, height: `${(width * 9) / 16}px` });
    }
  };

  here.state = () => (here.room ? state.stateOf(here.room) : {});

  /** @param {boolean} drops */
  here.dropAnswers = (drops) => {
    dropsAnswers = drops;
  };

  here.cutSignal = () => {
    for (const socket of sockets.splice(0)) socket.close();
  };

  /** Gives the value of the action, or its error. @param {(here: object, ...args: any[]) => any} action @param {any[]} args */
  here.attempt = async (action, args) => {
    try {
      return { value: await action(here, ...args) };
    } catch (error) {
      return { error: toJson(error) };
    }
  };

  window.here = here;
})();
