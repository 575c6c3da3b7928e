'use strict';

// Set-up of the tests in sessions/: a server, rooms, and participants that leave after each test.

const { dispose } = require('./rtc.js');
const { RoomServiceClient } = require('livekit-server-sdk');
const { RtcClient } = require('./rtc-client.js');
const { call, cleanUp, identify, newRun, roomOf, serverFromEnvironment } = require('./server.js');
const { connectSignal } = require('./signalling.js');
const { mint } = require('./token.js');

/**
 * @typedef {import('./signalling.js').SignalClient} SignalClient
 * @typedef {object} TokenOptions
 * @property {string} room
 * @property {string} identity
 * @property {Record<string, any>} [grants] Grants of the token.
 * @property {Record<string, any>} [claims] Claims of the token.
 * @property {import('./token.js').Token} [token] Instead of the other properties.
 * @typedef {TokenOptions & { options?: Record<string, any> }} JoinOptions `options`: of rtc-node's connect().
 * @typedef {TokenOptions & { signalling?: import('./signalling.js').SignalOptions }} SignallingOptions
 */

const LEAVE_MS = 30_000;

/** Clients that leave together. */
function newGroup() {
  /** @type {Set<RtcClient>} */
  const clients = new Set();
  /** @type {Set<SignalClient>} */
  const signalClients = new Set();
  const leave = async () => {
    for (const { socket } of signalClients) socket.terminate();
    signalClients.clear();
    await Promise.all([...clients].map((client) => client.leave()));
    clients.clear();
  };
  return { clients, signalClients, leave };
}

/** Call it once in a test file. */
function useSession() {
  const server = serverFromEnvironment();
  const service = new RoomServiceClient(server.url.replace(/^ws/, 'http'), server.apiKey, server.apiSecret);
  const run = newRun();
  /** Clients of beforeAll, which stay for the whole file, and clients of the current test. */
  const [fileGroup, testGroup] = [newGroup(), newGroup()];
  let group = fileGroup;
  let rooms = 0;
  const session = { server, service, kind: /** @type {'engine' | 'livekit'} */ ('livekit') };

  beforeAll(async () => {
    session.kind = await identify(server);
  });

  beforeEach(() => {
    group = testGroup;
  });

  afterEach(() => testGroup.leave(), LEAVE_MS);

  afterAll(async () => {
    await fileGroup.leave();
    await cleanUp(server, run);
    await dispose();
  }, LEAVE_MS);

  /** @param {TokenOptions} options */
  const tokenOf = ({ room, identity, grants, claims, token }) =>
    mint(server, token ?? { video: { roomJoin: true, room, ...grants }, claims: { sub: identity, ...claims } });

  /** Joins with media and data. @param {JoinOptions} options */
  async function join(options) {
    const client = new RtcClient(options.identity);
    group.clients.add(client);
    await client.connect(server.url, tokenOf(options), options.options);
    return client;
  }

  /** Connects the signalling only, or gives the rejection. @param {SignallingOptions} options */
  async function tryToConnectSignalling(options) {
    const { client, rejection } = await connectSignal(server.url, options.identity, { token: tokenOf(options), ...options.signalling });
    if (client) group.signalClients.add(client);
    return { client, rejection };
  }

  /** Connects the signalling only. @param {SignallingOptions} options @returns {Promise<SignalClient>} */
  async function connectSignalling(options) {
    const { client, rejection } = await tryToConnectSignalling(options);
    if (!client) throw new Error(`${options.identity} cannot join: ${JSON.stringify(rejection)}`);
    return client;
  }

  /**
   * Joins one participant after another, so that each receives those before it in its join response.
   * @param {string} room @param {string[]} identities
   */
  async function joinAll(room, ...identities) {
    const clients = [];
    for (const identity of identities) clients.push(await join({ room, identity }));
    return clients;
  }

  const newRoom = () => roomOf(run, (rooms += 1));
  /** Calls the room service with all grants. @param {string} method @param {Record<string, any>} message */
  const callApi = (method, message) => call(server, method, message);

  return Object.assign(session, { callApi, connectSignalling, join, joinAll, newRoom, tokenOf, tryToConnectSignalling });
}

module.exports = { useSession };
