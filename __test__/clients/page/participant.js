'use strict';

// A participant that uses any version of livekit-client. It passes events to `report`, which the test provides.

(() => {
  const { LivekitClient: client, media, report } = window;
  const { RoomEvent, Track } = client;
  /** Maximum sample of silence after Opus, of 1, with a wide margin. */
  const SILENCE = 0.03;
  /** Maximum luma difference of coding noise. The painted corner changes by 16 from frame to frame. */
  const NOISE = 4;
  /** Maximum time of a negotiation, in ms; past it publishing fails. livekit-client's default of 15 s is too short on a busy machine. */
  const NEGOTIATION_MS = 60_000;
  const isVersion1 = client.version.startsWith('1.');
  const room = new client.Room();

  /** Decodes a track until a frame passes the check. @param {MediaStreamTrack} track @param {(frame: any) => boolean | Promise<boolean>} check */
  async function decodeUntil(track, check) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (let isDone = false; !isDone; ) {
      const { done, value: frame } = await reader.read();
      if (done) throw new Error(`the ${track.kind} track ended`);
      isDone = await check(frame);
      frame.close();
    }
    await reader.cancel();
  }

  /** A check for a frame whose first pixel differs from that of the previous frame. */
  function isMoving() {
    let before;
    return async (frame) => {
      const bytes = new Uint8Array(frame.allocationSize());
      await frame.copyTo(bytes);
      const [luma] = bytes;
      const differs = before !== undefined && Math.abs(luma - before) > NOISE;
      before = luma;
      return differs;
    };
  }

  /** @param {any} frame */
  function isLoud(frame) {
    const samples = new Float32Array(frame.numberOfFrames);
    frame.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
    return samples.some((sample) => Math.abs(sample) > SILENCE);
  }

  room.on(RoomEvent.TrackSubscribed, async (track, _publication, { identity }) => {
    document.body.append(track.attach());
    await decodeUntil(track.mediaStreamTrack, track.kind === 'video' ? isMoving() : isLoud);
    report({ event: track.kind, detail: identity });
  });
  room.on(RoomEvent.DataReceived, (bytes, participant) => {
    report({ event: 'data', detail: { identity: participant?.identity, text: new TextDecoder().decode(bytes) } });
  });
  room.on(RoomEvent.Disconnected, (reason) => report({ event: 'disconnected', detail: reason }));

  window.here = {
    /** Joins, publishes video and audio, and returns the version of livekit-client. @param {string} url @param {string} token */
    async join(url, token) {
      await room.connect(url, token, { peerConnectionTimeout: NEGOTIATION_MS });
      await room.localParticipant.publishTrack(media.paint('lime'), { source: Track.Source.Camera });
      await room.localParticipant.publishTrack(media.sound(), { source: Track.Source.Microphone });
      return client.version;
    },
    /** @param {string} text */
    send(text) {
      const options = isVersion1 ? client.DataPacket_Kind.RELIABLE : { reliable: true };
      return room.localParticipant.publishData(new TextEncoder().encode(text), options);
    },
  };
})();
