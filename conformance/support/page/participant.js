'use strict';

// The participant that this page is. The tests reach it through `here`.

(() => {
  const { media, state } = window;
  /** The first byte of a request that is an answer: field 2 of a message in protobuf. */
  const ANSWER = 0x12;
  const client = window.LivekitClient;
  const sockets = [];
  const events = [];
  const inbox = [];
  const here = { client, room: undefined, me: undefined, keys: undefined, events, inbox, lost: 0 };
  let losesAnswers = false;

  // The signal connection can then be cut, or lose something, as a network does it: nobody is asked.
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }

    send(message) {
      if (losesAnswers && new Uint8Array(message)[0] === ANSWER) here.lost += 1;
      else super.send(message);
    }
  };

  /** @param {any} track */
  function play(track) {
    const element = track.attach();
    Object.assign(element.style, { width: '160px', height: '90px' });
    document.body.append(element);
  }

  /** Every page shows and plays all that it subscribes to: a receiver that nobody listens to decodes nothing. @param {any} room */
  function playAll(room) {
    room.on(client.RoomEvent.TrackSubscribed, play);
    room.on(client.RoomEvent.TrackUnsubscribed, (track) => {
      for (const element of track.detach()) element.remove();
    });
  }

  /** @param {any} room */
  function takeMessages(room) {
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

  /** What JSON keeps of an error. @param {any} error */
  const tell = ({ name, message, code, status, reason, reasonName }) => ({ name, message, code, status, reason: reasonName ?? reason });

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
    state.keepEvents(room, events);
    playAll(room);
    takeMessages(room);
    if (key !== undefined) await room.setE2EEEnabled(true);
    await room.connect(url, token, connect);
  };

  /**
   * @param {'camera' | 'microphone' | 'paint' | 'sound'} what The fake devices, or what the page makes itself.
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
  /** The page's own track of that kind, always the same one. @param {'paint' | 'sound'} what */
  here.source = (what) => {
    if (!sources.has(what)) sources.set(what, what === 'paint' ? media.paint('lime') : media.sound());
    return sources.get(what);
  };

  /** The publication of somebody, by its source, or by its name where it has none. @param {string} identity @param {string} source */
  const find = (identity, source) => {
    const participant = identity === here.me.identity ? here.me : here.room.remoteParticipants.get(identity);
    return participant?.getTrackPublication(source) ?? participant?.getTrackPublicationByName(source);
  };

  /** @param {string} identity @param {string} source @returns {any} */
  here.of = (identity, source) => {
    const publication = find(identity, source);
    if (publication) return publication;
    throw new Error(`${here.me.identity} knows of no ${source} of ${identity}`);
  };

  /** What is seen and heard of a track. @param {string} identity @param {string} source */
  here.watch = async (identity, source) => {
    const publication = find(identity, source);
    const track = publication?.track;
    // A track that comes right after its Reconnected is one that livekit-client 2.22 keeps to itself: it holds TrackSubscribed
    // back while its attempt to reconnect has not ended, and lets go what it holds before that.
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

  /** How what it publishes gets to the server. */
  here.path = () => media.path(here.room.engine.pcManager.publisher.pc);

  /** How many media sections the descriptions of its connections have. */
  here.sections = () => {
    const { publisher, subscriber } = here.room.engine.pcManager;
    const count = (transport) => (transport?.pc.localDescription?.sdp ?? '').split('\nm=').length - 1;
    return { publisher: count(publisher), subscriber: count(subscriber) };
  };

  /** How loud somebody is on the left and on the right. @param {string} identity @param {string} source */
  here.sides = (identity, source) => media.sides(here.of(identity, source).track.mediaStreamTrack);

  /** Makes a picture on the page that large; 0: it is not on the page. @param {string} identity @param {string} source @param {number} width */
  here.resize = (identity, source, width) => {
    for (const element of here.of(identity, source).track.attachedElements) {
      Object.assign(element.style, { display: width === 0 ? 'none' : 'block', width: `${width}px`, height: `${(width * 9) / 16}px` });
    }
  };

  here.state = () => (here.room ? state.stateOf(here.room) : {});

  /** @param {boolean} loses */
  here.loseAnswers = (loses) => {
    losesAnswers = loses;
  };

  here.cutSignal = () => {
    for (const socket of sockets.splice(0)) socket.close();
  };

  /** Gives what the action gives, or its error. @param {(here: object, ...args: any[]) => any} action @param {any[]} args */
  here.attempt = async (action, args) => {
    try {
      return { value: await action(here, ...args) };
    } catch (error) {
      return { error: tell(error) };
    }
  };

  window.here = here;
})();
