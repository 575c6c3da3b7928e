'use strict';

// A process of LiveKit clients, because rtc-node's `instanceof` checks fail for objects of jest's realm. Its parent sends
// `{ call, method, client, args }`. It responds with `{ call, value | error }`, and sends events as `{ client, event, detail }`.

const ffi = require('@livekit/rtc-ffi-bindings');
const rtc = require('@livekit/rtc-node');

const { Room, RoomEvent, TrackKind, TrackSource } = rtc;

/** rtc-node 1.1 frees the queue of an audio source while it still plays from it, and the process sometimes aborts. */
const NO_QUEUE = 0;

/** @type {Map<number, import('@livekit/rtc-node').Room>} */
const rooms = new Map();

const SOURCES = {
  camera: TrackSource.SOURCE_CAMERA,
  microphone: TrackSource.SOURCE_MICROPHONE,
  screen_share: TrackSource.SOURCE_SCREENSHARE,
  screen_share_audio: TrackSource.SOURCE_SCREENSHARE_AUDIO,
};

/** @param {import('@livekit/rtc-node').Participant} participant */
function describe(participant) {
  const { identity, name, metadata, attributes } = participant;
  return { identity, name: name ?? '', metadata: metadata ?? '', attributes: { ...attributes } };
}

/** @param {number} client */
function room(client) {
  const found = rooms.get(client);
  if (found?.localParticipant === undefined) throw new Error(`client ${client} is not in a room`);
  return { room: found, self: found.localParticipant };
}

/** @type {Record<string, (client: number, ...args: any[]) => Promise<unknown>>} */
const methods = {
  async join(client, url, token, { autoSubscribe = true } = {}) {
    const joined = new Room();
    /** @param {string} event @param {unknown} detail */
    const report = (event, detail) => process.send?.({ client, event, detail });
    joined.on(RoomEvent.Disconnected, (reason) => report('disconnected', rtc.DisconnectReason[reason]));
    joined.on(RoomEvent.ParticipantConnected, (other) => report('participantConnected', describe(other)));
    joined.on(RoomEvent.ParticipantDisconnected, (other) => report('participantDisconnected', other.identity));
    joined.on(RoomEvent.ParticipantNameChanged, (name, other) => report('nameChanged', { identity: other.identity, name }));
    joined.on(RoomEvent.RoomMetadataChanged, (metadata) => report('roomMetadataChanged', metadata));
    joined.on(RoomEvent.ParticipantMetadataChanged, (metadata, other) => report('metadataChanged', { identity: other.identity, metadata }));
    joined.on(RoomEvent.ParticipantAttributesChanged, (attributes, other) => report('attributesChanged', { identity: other.identity, attributes }));
    joined.on(RoomEvent.TrackMuted, (track, other) => report('trackMuted', { identity: other.identity, sid: track.sid }));
    joined.on(RoomEvent.TrackUnpublished, (track, other) => report('trackUnpublished', { identity: other.identity, sid: track.sid }));
    joined.on(RoomEvent.TrackPublished, (track, other) => report('trackPublished', { identity: other.identity, sid: track.sid }));
    joined.on(RoomEvent.TrackSubscribed, (_track, publication, other) =>
      report('trackSubscribed', {
        identity: other.identity,
        sid: publication.sid,
        kind: publication.kind === TrackKind.KIND_AUDIO ? 'audio' : 'video',
      }),
    );
    joined.on(RoomEvent.DataReceived, (payload, other, _kind, topic) =>
      report('data', { identity: other?.identity, text: new TextDecoder().decode(payload), topic }),
    );
    await joined.connect(url, token, { autoSubscribe, dynacast: false });
    rooms.set(client, joined);
    const { self } = room(client);
    const permission = self.info?.permission;
    return {
      room: joined.name,
      roomMetadata: joined.metadata,
      emptyTimeout: Number(joined.emptyTimeout),
      departureTimeout: Number(joined.departureTimeout),
      self: describe(self),
      permission: permission && {
        canPublish: permission.canPublish,
        canSubscribe: permission.canSubscribe,
        canPublishData: permission.canPublishData,
        canUpdateMetadata: permission.canUpdateMetadata,
        hidden: permission.hidden,
      },
      others: [...joined.remoteParticipants.values()].map(describe),
    };
  },
  async publish(client, source) {
    const { self } = room(client);
    const isAudio = source === 'microphone' || source === 'screen_share_audio';
    const track = isAudio
      ? rtc.LocalAudioTrack.createAudioTrack(source, new rtc.AudioSource(48_000, 1, NO_QUEUE))
      : rtc.LocalVideoTrack.createVideoTrack(source, new rtc.VideoSource(64, 48));
    const options = new rtc.TrackPublishOptions({ source: SOURCES[/** @type {keyof typeof SOURCES} */ (source)] });
    const publication = await self.publishTrack(track, options);
    return publication.sid;
  },
  async mute(client, sid) {
    const track = room(client).self.trackPublications.get(sid)?.track;
    const trackHandle = /** @type {any} */ (track).ffi_handle.handle;
    // rtc-node has no method for this, but its native library has.
    const request = new ffi.FfiRequest({ message: { case: 'localTrackMute', value: { trackHandle, mute: true } } });
    ffi.livekitFfiRequest(request.toBinary());
  },
  async sendData(client, text, topic) {
    await room(client).self.publishData(new TextEncoder().encode(text), { reliable: true, topic });
  },
  async rename(client, name) {
    await room(client).self.updateName(name);
  },
  async leave(client) {
    await rooms.get(client)?.disconnect();
    rooms.delete(client);
  },
  async leaveAll() {
    await Promise.all([...rooms.keys()].map((client) => methods.leave(client)));
  },
};

process.on('message', async (/** @type {any} */ { call, method, client, args }) => {
  try {
    process.send?.({ call, value: await methods[method](client, ...args) });
  } catch (error) {
    process.send?.({ call, error: String(error) });
  }
});

// The parent has exited.
process.on('disconnect', () => process.exit());

process.send?.({ ready: true });
