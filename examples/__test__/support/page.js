'use strict';

// Functions that run in pages. Puppeteer sends them as text, so they can use only their arguments and the page.

/* eslint-env browser */

/** Runs before the scripts of the page: keeps its connections, and makes video small, because two cores encode and decode everything. */
function prepare() {
  const { RTCPeerConnection: Peer, WebSocket: Socket, EventSource: Source } = window;
  const peers = [];
  const sockets = [];
  let isCut = false;
  const test = { streams: 0, mark: Math.random() };

  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      peers.push(this);
    }
  };
  window.WebSocket = class extends Socket {
    constructor(url, ...rest) {
      super(url, ...rest);
      if (!/\/rtc\b/.test(url)) return;
      sockets.push(this);
      if (isCut) this.close();
    }
  };
  window.EventSource = class extends Source {
    constructor(...args) {
      super(...args);
      test.streams += 1;
    }
  };

  /** Cuts the signal connection, as a network failure does. */
  test.cut = () => {
    isCut = true;
    for (const socket of sockets.splice(0)) socket.close();
  };
  test.restore = () => {
    isCut = false;
  };
  /** In Firefox, getStats() of a connection that is closed meanwhile never resolves. */
  const statsOf = (peer) => Promise.race([peer.getStats(), new Promise((resolve) => setTimeout(resolve, 1_000, new Map()))]);
  test.received = async () => {
    const sum = { frames: 0, energy: 0 };
    for (const peer of peers.filter(({ connectionState }) => connectionState !== 'closed')) {
      for (const report of (await statsOf(peer)).values()) {
        if (report.type !== 'inbound-rtp') continue;
        sum.frames += report.framesDecoded ?? 0;
        sum.energy += report.totalAudioEnergy ?? 0;
      }
    }
    return sum;
  };

  const counted = new WeakMap();
  /** Frames drawn since the first call for that video. Firefox does not count frames of a MediaStream. */
  test.drawn = (video) => {
    if (!counted.has(video)) {
      counted.set(video, 0);
      const count = () => {
        counted.set(video, counted.get(video) + 1);
        video.requestVideoFrameCallback(count);
      };
      video.requestVideoFrameCallback(count);
    }
    return counted.get(video);
  };
  window.test = test;

  const { mediaDevices } = navigator;
  // Only secure contexts have devices.
  if (!mediaDevices) return;
  const small = { width: 320, height: 180, frameRate: 10 };
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = ({ video, ...rest }) => getUserMedia({ ...rest, ...(video && { video: small }) });
  // A headless browser has no screen.
  mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), small);
    const context = canvas.getContext('2d');
    let shade = 0;
    setInterval(() => {
      shade += 16;
      context.fillStyle = `rgb(${64 + (shade % 128)},128,192)`;
      context.fillRect(0, 0, small.width, small.height);
    }, 100);
    return canvas.captureStream(10);
  };
}

/** The state of the page, by roles and names. */
async function look() {
  const text = (element) => (element?.textContent ?? '').replaceAll(/\s+/g, ' ').trim();
  const nameOf = (element) => {
    const label = element.getAttribute('aria-label') ?? element.labels?.[0]?.textContent;
    return (label ?? text(element)).trim();
  };
  const isSeen = (element) => element.checkVisibility({ visibilityProperty: true });
  const all = (selector, within = document) => [...within.querySelectorAll(selector)].filter(isSeen);

  /** Width, drawn frames, brightness and a hash of the picture. */
  const watch = (video) => {
    if (!video || !isSeen(video) || video.videoWidth === 0) return undefined;
    const [width, height] = [32, 18];
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, width, height);
    let print = 0;
    let sum = 0;
    for (const [at, value] of context.getImageData(0, 0, width, height).data.entries()) {
      if (at % 4 === 3) continue;
      print = (Math.imul(print, 31) + value) | 0;
      sum += value;
    }
    return { width: video.videoWidth, frames: window.test.drawn(video), brightness: Math.round(sum / (width * height * 3)), print };
  };

  const tile = (element) => ({
    name: nameOf(element),
    isMuted: /\bMuted\b/.test(text(element)),
    isSpeaking: element.matches('[data-speaking]'),
    picture: watch(element.querySelector('video')),
  });
  const live = all('h2').find((heading) => text(heading) === 'Live now')?.closest('section');

  /** The list item of a heading. */
  const partOf = (heading) => {
    let part = heading.parentElement;
    while (!part.querySelector('a') && part !== live) part = part.parentElement;
    return part;
  };

  return {
    path: location.pathname + location.search,
    h1: all('h1').map(text).join(' | '),
    status: all('[role=status]').map(text).filter(Boolean),
    alerts: all('[role=alert]').map(text).filter(Boolean),
    people: all('ul[aria-label="People"] > li').map(tile),
    screens: all('[aria-label^="Screen of "]').map(tile),
    buttons: all('button').map(nameOf),
    links: all('a').map(nameOf),
    boxes: all('input, textarea').map(nameOf),
    messages: all('[role=log] li, li[role=log]').map(text),
    live: live && all('h3', live).map((heading) => ({ huddle: text(heading), people: all('li', partOf(heading)).map(text) })),
    isEmpty: live && text(live).includes('Nobody is in a huddle. Start one.'),
    sounds: [...document.querySelectorAll('audio')].filter(({ srcObject, paused }) => srcObject && !paused).length,
    received: await window.test.received(),
    streams: window.test.streams,
    isAwaitingDevices: window.test.isAwaitingDevices ?? false,
    devices: (window.test.devices ?? []).map(({ readyState }) => readyState),
    mark: window.test.mark,
    width: { page: document.documentElement.scrollWidth, window: window.innerWidth },
    text: text(document.body).slice(0, 600),
  };
}

module.exports = { look, prepare };
