'use strict';

// A client of the signalling protocol only, without media.

const { gzipSync } = require('node:zlib');
const { JoinRequest, SignalRequest, SignalResponse, WrappedJoinRequest, WrappedJoinRequest_Compression } = require('@livekit/protocol');
const WebSocket = require('ws');
const { eventually } = require('../../test-support/eventually.js');

/**
 * @typedef {object} SignalOptions
 * @property {string} [token]
 * @property {'header' | 'query'} [tokenIn] Default: query.
 * @property {'/rtc' | '/rtc/v1'} [path] Default: /rtc/v1.
 * @property {Record<string, any>} [join] Fields of the join request, on /rtc/v1.
 * @property {'GZIP' | 'NONE'} [compression] Of the join request; default: GZIP.
 * @property {Record<string, string>} [query] In addition to, or in place of, the default parameters.
 * @property {Record<string, string>} [headers]
 * @typedef {{ status: number, body: string, type: string | undefined }} Rejection
 */

const HANDSHAKE_MS = 15_000;
const POLL_MS = 20;
const CLIENT = { sdk: 1, version: '2.23.0', protocol: 17, clientProtocol: 2 };
/** Parameters that clients send on /rtc. */
const PARAMETERS = { sdk: 'js', version: '2.23.0', protocol: '17', auto_subscribe: '1' };

/** A join request as a URL parameter. @param {Record<string, any>} join @param {'GZIP' | 'NONE'} [compression] */
function toParameter(join, compression = 'GZIP') {
  const request = { clientInfo: CLIENT, connectionSettings: { autoSubscribe: true }, ...join };
  const bytes = JoinRequest.fromJson(/** @type {any} */ (request)).toBinary();
  const wrapped = new WrappedJoinRequest({
    compression: WrappedJoinRequest_Compression[compression],
    joinRequest: compression === 'GZIP' ? gzipSync(bytes) : bytes,
  });
  return base64url(wrapped.toBinary());
}

/** base64url with padding. @param {Uint8Array} bytes */
const base64url = (bytes) => Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');

class SignalClient {
  /** @type {SignalResponse[]} */
  responses = [];
  /** Kinds of the responses that came as JSON. @type {(string | undefined)[]} */
  texts = [];
  /** Code of the closing handshake. @type {number | undefined} */
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

  /** Kinds of all responses, in order. @returns {(string | undefined)[]} */
  get kinds() {
    return this.responses.map(({ message }) => message.case);
  }

  /** Responses of a kind. @param {string} kind @returns {any[]} */
  all(kind) {
    return this.responses.filter(({ message }) => message.case === kind).map(({ message }) => message.value);
  }

  /**
   * Waits for a response of a kind that matches; it may have come before.
   * @param {string} kind
   * @param {any} [like]
   * @param {{ within?: number }} [time]
   * @returns {Promise<any>}
   */
  async receives(kind, like, time) {
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
    await eventually(`${this.identity} receives ${kind}`, async () => undefined, check, { every: POLL_MS, ...time });
    return this.all(kind).find(fits);
  }

  /** The last received info of a participant. @param {string} identity @returns {any} */
  infoOf(identity) {
    const [join] = this.all('join');
    const initial = [join?.participant, ...(join?.otherParticipants ?? [])];
    const infos = [...initial, ...this.all('update').flatMap(({ participants }) => participants)];
    return infos.findLast((info) => info?.identity === identity);
  }

  /** Waits until the last info of a participant matches. @param {string} identity @param {any} like @param {{ within?: number }} [time] */
  async receivesInfo(identity, like, time) {
    const look = async () => this.infoOf(identity);
    return eventually(`${this.identity} receives info of ${identity}`, look, (info) => expect(info).toMatchObject(like), { every: POLL_MS, ...time });
  }

  /** @param {string} kind @param {any} value */
  send(kind, value) {
    this.socket.send(this.#request(kind, value).toBinary());
  }

  /** @param {string} kind @param {any} value */
  sendAsJson(kind, value) {
    this.socket.send(this.#request(kind, value).toJsonString());
  }

  /** @param {string} kind @param {any} value */
  #request(kind, value) {
    return new SignalRequest({ message: /** @type {any} */ ({ case: kind, value }) });
  }

  /** Waits until the connection is closed; gives the code. @param {{ within?: number }} [time] */
  async isClosed(time) {
    const look = async () => this.closed;
    await eventually(`${this.identity} is closed`, look, (closed) => expect(closed).toBeDefined(), { every: POLL_MS, ...time });
    return this.closed;
  }

  leave() {
    this.send('leave', { reason: 1 });
    this.socket.close();
  }
}

/** @param {string} url @param {SignalOptions} options */
function addressOf(url, { token, tokenIn = 'query', path = '/rtc/v1', join = {}, compression, query }) {
  const parameters = path === '/rtc' ? PARAMETERS : { join_request: toParameter(join, compression) };
  const address = new URL(path, url.replace(/^http/, 'ws'));
  const all = { ...(token && tokenIn === 'query' && { access_token: token }), ...parameters, ...query };
  for (const [name, value] of Object.entries(all)) address.searchParams.set(name, value);
  return address;
}

/**
 * Connects, or gives the rejection.
 * @param {string} url
 * @param {string} identity
 * @param {SignalOptions} options
 * @returns {Promise<{ client?: SignalClient, rejection?: Rejection }>}
 */
function connectSignal(url, identity, options) {
  const { token, tokenIn, headers } = options;
  const bearer = token && tokenIn === 'header' && { authorization: `Bearer ${token}` };
  const socket = new WebSocket(addressOf(url, options), { headers: { ...bearer, ...headers }, handshakeTimeout: HANDSHAKE_MS });
  const client = new SignalClient(identity, socket);
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve({ client }));
    socket.on('error', reject);
    socket.on('unexpected-response', (_, response) => {
      const connection = response.socket;
      /** @type {Buffer[]} */
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        // ws does not close a connection that did not become a WebSocket.
        connection.destroy();
        const body = Buffer.concat(parts).toString();
        resolve({ rejection: { status: response.statusCode ?? 0, body, type: response.headers['content-type'] } });
      });
    });
  });
}

module.exports = { SignalClient, addressOf, base64url, connectSignal, toParameter };
