'use strict';

// Measures a call in ms. All participants are in one page, so they share a clock. Runs in the page of the conformance tests.

(() => {
  const { LivekitClient: client, media } = window;
  const PINGS = 30;
  const PAUSE_MS = 30;
  const VIDEO = { width: 320, height: 180, fps: 30 };
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

  /** When the first message of the latest signalling connection arrived. */
  const signalling = { firstMessageAt: 0 };
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => (signalling.firstMessageAt = performance.now()), { once: true });
    }
  };

  /** Connects a participant. `frame` resolves with the time at which the first video frame of another participant is shown. */
  async function join(url, token) {
    const room = new client.Room({ adaptiveStream: false, dynacast: false });
    const frame = new Promise((resolve) => {
      room.on(client.RoomEvent.TrackSubscribed, (track) => {
        const element = track.attach();
        document.body.append(element);
        element.requestVideoFrameCallback(() => resolve(performance.now()));
      });
    });
    const begun = performance.now();
    await room.connect(url, token);
    const connected = performance.now();
    return { room, begun, frame, connected: connected - signalling.firstMessageAt };
  }

  /** Median round-trip time of data messages in ms, one at a time. */
  async function roundTrip(near, far) {
    const send = (room, bytes) => room.localParticipant.publishData(bytes, { reliable: true });
    far.on(client.RoomEvent.DataReceived, (bytes) => send(far, bytes));
    const durations = [];
    for (let i = 0; i < PINGS; i += 1) {
      const back = new Promise((resolve) => {
        near.once(client.RoomEvent.DataReceived, () => resolve(performance.now()));
      });
      const begun = performance.now();
      await send(near, new Uint8Array(16));
      durations.push((await back) - begun);
      await pause();
    }
    return median(durations);
  }

  /** @param {string} url @param {string[]} tokens For three participants. */
  window.call = async (url, tokens) => {
    const ann = await join(url, tokens[0]);
    const ben = await join(url, tokens[1]);
    // Created before the measurement, as with a camera that is already on.
    const track = media.paint('green', VIDEO);
    await pause();
    const begun = performance.now();
    await ann.room.localParticipant.publishTrack(track, { simulcast: false });
    const published = (await ben.frame) - begun;
    const data = await roundTrip(ann.room, ben.room);
    const cleo = await join(url, tokens[2]);
    const late = (await cleo.frame) - cleo.begun;
    for (const { room } of [ann, ben, cleo]) await room.disconnect();
    track.stop();
    return { connected: ben.connected, published, late, data };
  };
})();
