'use strict';

// What every test of the sessions stands on: a server, rooms, and participants who go at the end.

const { dispose } = require('./rtc.js');
const { RoomServiceClient } = require('livekit-server-sdk');
const { Caller } = require('./caller.js');
const { call, cleanUp, identify, newRun, roomOf, serverFromEnvironment } = require('./server.js');
const { dial } = require('./signalling.js');
const { mint } = require('./token.js');

/**
 * @typedef {import('./signalling.js').Signaller} Signaller
 * @typedef {object} Who
 * @property {string} room
 * @property {string} identity
 * @property {Record<string, any>} [grants] Of the token.
 * @property {Record<string, any>} [claims] Of the token.
 * @property {import('./token.js').Token} [token] In place of what the others make.
 * @typedef {Who & { options?: Record<string, any> }} Joining `options`: of rtc-node's connect().
 * @typedef {Who & { dialling?: import('./signalling.js').Dialling }} Dialling
 */

const END_MS = 30_000;

/** Those who go together. */
function newCompany() {
  /** @type {Set<Caller>} */
  const callers = new Set();
  /** @type {Set<Signaller>} */
  const signallers = new Set();
  const leave = async () => {
    for (const { socket } of signallers) socket.terminate();
    signallers.clear();
    await Promise.all([...callers].map((caller) => caller.leaves()));
    callers.clear();
  };
  return { callers, signallers, leave };
}

/** Sets everything up for the tests of a file, and takes it down after them. */
function setSession() {
  const server = serverFromEnvironment();
  const service = new RoomServiceClient(server.url.replace(/^ws/, 'http'), server.apiKey, server.apiSecret);
  const run = newRun();
  /** Those who have joined before the first test, and stay; and those of the test that runs. */
  const [residents, guests] = [newCompany(), newCompany()];
  let company = residents;
  let rooms = 0;
  const session = { server, service, kind: /** @type {'engine' | 'livekit'} */ ('livekit') };

  beforeAll(async () => {
    session.kind = await identify(server);
  });

  beforeEach(() => {
    company = guests;
  });

  afterEach(() => guests.leave(), END_MS);

  afterAll(async () => {
    await residents.leave();
    await cleanUp(server, run);
    await dispose();
  }, END_MS);

  /** @param {Who} who */
  const tokenOf = ({ room, identity, grants, claims, token }) =>
    mint(server, token ?? { video: { roomJoin: true, room, ...grants }, claims: { sub: identity, ...claims } });

  /** Joins with media and data. @param {Joining} joining */
  async function join(joining) {
    const caller = new Caller(joining.identity);
    company.callers.add(caller);
    await caller.connect(server.url, tokenOf(joining), joining.options);
    return caller;
  }

  /** Tries to connect the signalling alone. @param {Dialling} dialling */
  async function tryToDial(dialling) {
    const { signaller, refusal } = await dial(server.url, dialling.identity, { token: tokenOf(dialling), ...dialling.dialling });
    if (signaller) company.signallers.add(signaller);
    return { signaller, refusal };
  }

  /** Joins with the signalling alone. @param {Dialling} dialling @returns {Promise<Signaller>} */
  async function dials(dialling) {
    const { signaller, refusal } = await tryToDial(dialling);
    if (!signaller) throw new Error(`${dialling.identity} cannot join: ${JSON.stringify(refusal)}`);
    return signaller;
  }

  /**
   * They join one after another, so that each knows those before it from the start.
   * @param {string} room @param {string[]} identities
   */
  async function gather(room, ...identities) {
    const callers = [];
    for (const identity of identities) callers.push(await join({ room, identity }));
    return callers;
  }

  const newRoom = () => roomOf(run, (rooms += 1));
  /** Asks the room service, with all grants. @param {string} method @param {Record<string, any>} message */
  const ask = (method, message) => call(server, method, message);

  return Object.assign(session, { ask, dials, gather, join, newRoom, tokenOf, tryToDial });
}

module.exports = { setSession };
