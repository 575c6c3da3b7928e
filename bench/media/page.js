'use strict';

// One call in a browser, of participants who are all on this page and so share a clock; what is measured is in ms. It stands
// on the page of the conformance tests.

(() => {
  const { LivekitClient: client, media } = window;
  const PINGS = 30;
  const PAUSE_MS = 30;
  const PICTURE = { width: 320, height: 180, fps: 30 };
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

  /** When the first message of the newest signalling connection came. */
  const signalling = { told: 0 };
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => (signalling.told = performance.now()), { once: true });
    }
  };

  /** Joins. `frame` comes to be when the first picture of anybody is shown. */
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
    return { room, begun, frame, connected: connected - signalling.told };
  }

  /** ms for a packet to somebody and back, one at a time. */
  async function roundTrip(near, far) {
    const send = (room, bytes) => room.localParticipant.publishData(bytes, { reliable: true });
    far.on(client.RoomEvent.DataReceived, (bytes) => send(far, bytes));
    const took = [];
    for (let i = 0; i < PINGS; i += 1) {
      const back = new Promise((resolve) => {
        near.once(client.RoomEvent.DataReceived, () => resolve(performance.now()));
      });
      const begun = performance.now();
      await send(near, new Uint8Array(16));
      took.push((await back) - begun);
      await pause();
    }
    return median(took);
  }

  /** @param {string} url @param {string[]} tokens Of three participants. */
  window.call = async (url, tokens) => {
    const ann = await join(url, tokens[0]);
    const ben = await join(url, tokens[1]);
    // Made before, as a camera is that shows its owner already.
    const track = media.paint('green', PICTURE);
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
