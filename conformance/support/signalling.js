'use strict';

// A client of the signalling alone: it has no media, and says and hears every message itself.

const { gzipSync } = require('node:zlib');
const { JoinRequest, SignalRequest, SignalResponse, WrappedJoinRequest, WrappedJoinRequest_Compression } = require('@livekit/protocol');
const WebSocket = require('ws');
const { eventually } = require('../../test-support/eventually.js');

/**
 * @typedef {object} Dialling
 * @property {string} [token]
 * @property {'header' | 'query'} [tokenIn] Default: query.
 * @property {'/rtc' | '/rtc/v1'} [path] Default: /rtc/v1.
 * @property {Record<string, any>} [join] The join request, on /rtc/v1.
 * @property {'GZIP' | 'NONE'} [compression] Of the join request; default: GZIP.
 * @property {Record<string, string>} [query] Put over the rest.
 * @property {Record<string, string>} [headers]
 * @typedef {{ status: number, body: string, type: string | undefined }} Refusal
 */

const DIAL_MS = 15_000;
const POLL_MS = 20;
const CLIENT = { sdk: 1, version: '2.23.0', protocol: 17, clientProtocol: 2 };
/** As clients say it on /rtc. */
const PARAMETERS = { sdk: 'js', version: '2.23.0', protocol: '17', auto_subscribe: '1' };

/** A join request as it stands in the address. @param {Record<string, any>} join @param {'GZIP' | 'NONE'} [compression] */
function packed(join, compression = 'GZIP') {
  const request = { clientInfo: CLIENT, connectionSettings: { autoSubscribe: true }, ...join };
  const bytes = JoinRequest.fromJson(/** @type {any} */ (request)).toBinary();
  const wrapped = new WrappedJoinRequest({
    compression: WrappedJoinRequest_Compression[compression],
    joinRequest: compression === 'GZIP' ? gzipSync(bytes) : bytes,
  });
  return inAddress(wrapped.toBinary());
}

/** Of base64url, with padding. @param {Uint8Array} bytes */
const inAddress = (bytes) => Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');

class Signaller {
  /** Everything that has come. @type {SignalResponse[]} */
  responses = [];
  /** The kinds of those that came as text. @type {(string | undefined)[]} */
  texts = [];
  /** How it ended: the code. @type {number | undefined} */
  closed;

  /** @param {string} identity @param {WebSocket} socket */
  constructor(identity, socket) {
    this.identity = identity;
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      const bytes = /** @type {Buffer} */ (data);
      const response = isBinary
        ? SignalResponse.fromBinary(bytes)
        : SignalResponse.fromJsonString(String(bytes), { ignoreUnknownFields: true });
      if (!isBinary) this.texts.push(response.message.case);
      this.responses.push(response);
    });
    socket.on('error', () => {});
    socket.on('close', (code) => (this.closed = code));
  }

  /** What kinds of messages have come, in order. @returns {(string | undefined)[]} */
  get kinds() {
    return this.responses.map(({ message }) => message.case);
  }

  /** All messages of a kind. @param {string} kind @returns {any[]} */
  all(kind) {
    return this.responses.filter(({ message }) => message.case === kind).map(({ message }) => message.value);
  }

  /**
   * Waits for a message of that kind, among those too that have come already, that is like what is expected.
   * @param {string} kind
   * @param {any} [like]
   * @param {{ within?: number }} [time]
   * @returns {Promise<any>}
   */
  async hears(kind, like, time) {
    const fits = (/** @type {any} */ value) => {
      if (like === undefined) return true;
      try {
        if (typeof like === 'object') expect(value).toMatchObject(like);
        else expect(value).toBe(like);
        return true;
      } catch {
        return false;
      }
    };
    const check = () => {
      if (this.all(kind).some(fits)) return;
      expect({ kinds: this.kinds, closed: this.closed, [kind]: this.all(kind) }).toMatchObject({ [kind]: [like ?? expect.anything()] });
      throw new Error(`no ${kind}`);
    };
    await eventually(`${this.identity} hears ${kind}`, async () => undefined, check, { every: POLL_MS, ...time });
    return this.all(kind).find(fits);
  }

  /** The newest that it was told of a participant. @param {string} identity @returns {any} */
  told(identity) {
    const [join] = this.all('join');
    const first = [join?.participant, ...(join?.otherParticipants ?? [])];
    const told = [...first, ...this.all('update').flatMap(({ participants }) => participants)];
    return told.findLast((info) => info?.identity === identity);
  }

  /** It comes to be told that of a participant. @param {string} identity @param {any} like @param {{ within?: number }} [time] */
  async isTold(identity, like, time) {
    const look = async () => this.told(identity);
    return eventually(`${this.identity} is told of ${identity}`, look, (info) => expect(info).toMatchObject(like), { every: POLL_MS, ...time });
  }

  /** @param {string} kind @param {any} value */
  says(kind, value) {
    this.socket.send(this.#request(kind, value).toBinary());
  }

  /** @param {string} kind @param {any} value */
  saysAsText(kind, value) {
    this.socket.send(this.#request(kind, value).toJsonString());
  }

  /** @param {string} kind @param {any} value */
  #request(kind, value) {
    return new SignalRequest({ message: /** @type {any} */ ({ case: kind, value }) });
  }

  /** Waits for the end. @param {{ within?: number }} [time] */
  async isClosed(time) {
    const look = async () => this.closed;
    await eventually(`${this.identity} is closed`, look, (closed) => expect(closed).toBeDefined(), { every: POLL_MS, ...time });
    return this.closed;
  }

  leaves() {
    this.says('leave', { reason: 1 });
    this.socket.close();
  }
}

/** @param {string} url @param {Dialling} dialling */
function addressOf(url, { token, tokenIn = 'query', path = '/rtc/v1', join = {}, compression, query }) {
  const parameters = path === '/rtc' ? PARAMETERS : { join_request: packed(join, compression) };
  const address = new URL(path, url.replace(/^http/, 'ws'));
  const all = { ...(token && tokenIn === 'query' && { access_token: token }), ...parameters, ...query };
  for (const [name, value] of Object.entries(all)) address.searchParams.set(name, value);
  return address;
}

/**
 * Connects, or is refused.
 * @param {string} url
 * @param {string} identity
 * @param {Dialling} dialling
 * @returns {Promise<{ signaller?: Signaller, refusal?: Refusal }>}
 */
function dial(url, identity, dialling) {
  const { token, tokenIn, headers } = dialling;
  const bearer = token && tokenIn === 'header' && { authorization: `Bearer ${token}` };
  const socket = new WebSocket(addressOf(url, dialling), { headers: { ...bearer, ...headers }, handshakeTimeout: DIAL_MS });
  const signaller = new Signaller(identity, socket);
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve({ signaller }));
    socket.on('error', reject);
    socket.on('unexpected-response', (_, response) => {
      const connection = response.socket;
      /** @type {Buffer[]} */
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        // Nobody else closes a connection that did not become a WebSocket.
        connection.destroy();
        const body = Buffer.concat(parts).toString();
        resolve({ refusal: { status: response.statusCode ?? 0, body, type: response.headers['content-type'] } });
      });
    });
  });
}

module.exports = { Signaller, addressOf, dial, inAddress, packed };
