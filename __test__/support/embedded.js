'use strict';

// Platforms with an own engine, which are closed after their test, and requests to the engine.

const { createHmac } = require('node:crypto');
const { on, once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { SignalResponse } = require('@livekit/protocol');
const WebSocket = require('ws');
const { createPlatform } = require('../../index.js');
const { cleanUp } = require('./serve.js');

// Long and unusual, so that a match in any output is no coincidence.
const apiKey = 'keyOfTheEmbeddedSuite';
const apiSecret = 'Wq4secretOfTheEmbeddedSuiteThatMustNeverShow8vT';

/**
 * A platform with an own engine, for one test.
 * @param {import('../../index.js').PlatformOptions} [options]
 */
function openEmbedded(options = {}) {
  const platform = createPlatform({ provider: 'embedded', ...options });
  cleanUp(() => platform.close());
  return platform;
}

const ann = { identity: 'ann', name: 'Ann' };

/**
 * A call of every method of `media` that reaches the core, with or without the room.
 * @type {Record<string, (media: import('../../index.js').MediaService) => Promise<unknown>>}
 */
const calls = {
  createRoom: (media) => media.createRoom('room'),
  deleteRoom: (media) => media.deleteRoom('room'),
  listRooms: (media) => media.listRooms(),
  listParticipants: (media) => media.listParticipants('room'),
  getRoom: (media) => media.getRoom('room'),
  updateRoom: (media) => media.updateRoom('room', { metadata: 'm' }).catch(ignoreUnknown),
  getParticipant: (media) => media.getParticipant('room', 'unknown'),
  updateParticipant: (media) => media.updateParticipant('room', 'unknown', { name: 'n' }).catch(ignoreUnknown),
  muteParticipant: (media) => media.muteParticipant('room', 'unknown').catch(ignoreUnknown),
  sendData: (media) => media.sendData('room', 'hello').catch(ignoreUnknown),
  removeParticipant: (media) => media.removeParticipant('room', 'unknown').catch(ignoreUnknown),
  generateToken: (media) => media.generateToken('room', ann),
  mediaUrl: (media) => media.mediaUrl(),
  receiveWebhook: (media) => media.receiveWebhook({ body: '{}', authorization: null }).catch(ignoreUnknown),
  signWebhook: (media) => media.signWebhook({ type: 'room_started', room: { name: 'room' } }),
  attach: (media) => media.attach(http.createServer()),
};

/** The calls that start the engine, and fail if it cannot listen. */
const { attach: _, ...startingCalls } = calls;

function ignoreUnknown(error) {
  if (!['PARTICIPANT_NOT_FOUND', 'ROOM_NOT_FOUND', 'UNAUTHENTICATED'].includes(error.code)) throw error;
}

/** Status of the engine's validation of a token: 200 if it is accepted. @param {string} url @param {string} token */
async function validate(url, token) {
  const response = await fetch(`${httpOf(url)}/rtc/validate?access_token=${token}`);
  await response.text();
  return response.status;
}

/**
 * The candidates in the engine's first offer to a client that joins, such as `udp 127.0.0.1 50000`, sorted.
 * @param {import('../../index.js').MediaService} media
 */
async function candidatesOf(media) {
  const { token, url } = await media.generateToken('room', ann);
  const socket = new WebSocket(`${url}/rtc?access_token=${token}&protocol=9&auto_subscribe=1`);
  try {
    for await (const [data] of on(socket, 'message', { close: ['close'] })) {
      const { message } = SignalResponse.fromBinary(data);
      if (message.case !== 'offer') continue;
      const lines = message.value.sdp.matchAll(/^a=candidate:\S+ 1 (\w+) \d+ (\S+) (\d+) /gm);
      return [...new Set([...lines].map(([, protocol, address, port]) => `${protocol} ${address} ${port}`))].sort();
    }
    throw new Error('the engine has closed the connection before its offer');
  } finally {
    socket.terminate();
  }
}

const httpOf = (/** @type {string} */ url) => url.replace(/^ws/, 'http');
const portOf = (/** @type {string} */ url) => Number(new URL(url).port);

/**
 * Listens on a loopback port until the end of the test. Rejects if the port is in use.
 * @param {number} [port]
 * @param {string} [host]
 */
async function occupy(port = 0, host = '127.0.0.1') {
  const server = net.createServer((socket) => socket.destroy()).listen(port, host);
  await once(server, 'listening');
  const free = () => new Promise((resolve) => server.close(() => resolve(undefined)));
  cleanUp(free);
  return { port: /** @type {net.AddressInfo} */ (server.address()).port, free };
}

/** A port that was free a moment ago. */
async function freePort() {
  const { port, free } = await occupy();
  await free();
  return port;
}

/** A token with those claims. @param {object} claims @param {string} [secret] */
function sign(claims, secret = apiSecret) {
  const part = (/** @type {object} */ value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const unsigned = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${unsigned}.${createHmac('sha256', secret).update(unsigned).digest('base64url')}`;
}

module.exports = { ann, apiKey, apiSecret, calls, candidatesOf, freePort, httpOf, occupy, openEmbedded, portOf, sign, startingCalls, validate };
