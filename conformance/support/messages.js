'use strict';

// The messages of livekit.RoomService in protobuf, encoded by hand: independent of the code that LiveKit and the engine generate.

/**
 * A field: its number, the type of its values (a message has fields of its own), and whether it is repeated.
 * @typedef {{ number: number, of?: 'bytes' | 'string' | 'number' | 'int64' | 'bool' | Fields, list?: boolean }} Field
 * @typedef {Record<string, Field>} Fields
 */

/** @param {number} number @param {Field['of']} of @returns {Field} */
const one = (number, of) => ({ number, of });
/** @param {number} number @param {Field['of']} of @returns {Field} */
const list = (number, of) => ({ number, of, list: true });

/** A map is a list of entries. */
const ENTRY = { key: one(1, 'string'), value: one(2, 'string') };
const PARTICIPANT = { room: one(1, 'string'), identity: one(2, 'string') };
const DESTINATION = { ...PARTICIPANT, destination_room: one(3, 'string') };

/** @type {Record<string, Fields>} */
const requests = {
  CreateRoom: {
    name: one(1, 'string'),
    empty_timeout: one(2, 'number'),
    max_participants: one(3, 'number'),
    node_id: one(4, 'string'),
    metadata: one(5, 'string'),
    egress: one(6, {}),
    min_playout_delay: one(7, 'number'),
    max_playout_delay: one(8, 'number'),
    sync_streams: one(9, 'bool'),
    departure_timeout: one(10, 'number'),
    room_preset: one(12, 'string'),
    agents: list(14, { agent_name: one(1, 'string'), metadata: one(2, 'string'), attributes: list(5, ENTRY) }),
    tags: list(15, ENTRY),
  },
  ListRooms: { names: list(1, 'string') },
  DeleteRoom: { room: one(1, 'string') },
  ListParticipants: { room: one(1, 'string') },
  GetParticipant: PARTICIPANT,
  RemoveParticipant: { ...PARTICIPANT, revoke_token_ts: one(3, 'number') },
  MutePublishedTrack: { ...PARTICIPANT, track_sid: one(3, 'string'), muted: one(4, 'bool') },
  UpdateParticipant: { ...PARTICIPANT, metadata: one(3, 'string'), name: one(5, 'string'), attributes: list(6, ENTRY) },
  UpdateSubscriptions: { ...PARTICIPANT, track_sids: list(3, 'string'), subscribe: one(4, 'bool') },
  SendData: {
    room: one(1, 'string'),
    data: one(2, 'bytes'),
    kind: one(3, 'number'),
    topic: one(5, 'string'),
    destination_identities: list(6, 'string'),
    nonce: one(7, 'bytes'),
  },
  UpdateRoomMetadata: { room: one(1, 'string'), metadata: one(2, 'string') },
  ForwardParticipant: DESTINATION,
  MoveParticipant: DESTINATION,
  PerformRpc: {
    room: one(1, 'string'),
    destination_identity: one(2, 'string'),
    method: one(3, 'string'),
    payload: one(4, 'string'),
    response_timeout_ms: one(5, 'number'),
  },
};

/** In the order in which servers write them as JSON. */
const ROOM = {
  sid: one(1, 'string'),
  name: one(2, 'string'),
  empty_timeout: one(3, 'number'),
  departure_timeout: one(14, 'number'),
  max_participants: one(4, 'number'),
  creation_time: one(5, 'int64'),
  creation_time_ms: one(15, 'int64'),
  turn_password: one(6, 'string'),
  enabled_codecs: list(7, { mime: one(1, 'string'), fmtp_line: one(2, 'string') }),
  metadata: one(8, 'string'),
  num_participants: one(9, 'number'),
  num_publishers: one(11, 'number'),
  active_recording: one(10, 'bool'),
  version: one(13, {}),
};

/** Response messages of the methods that succeed without participants in a room. @type {Record<string, Fields>} */
const responses = {
  CreateRoom: ROOM,
  ListRooms: { rooms: list(1, ROOM) },
  DeleteRoom: {},
  ListParticipants: { participants: list(1, {}) },
  SendData: {},
  UpdateRoomMetadata: ROOM,
};

/** @param {number} value A non-negative integer. */
function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

/** @param {number} number @param {Uint8Array} bytes */
const delimited = (number, bytes) => Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);

/** Encodes a message. @param {Fields} fields @param {Record<string, any>} message @returns {Buffer} */
function encode(fields, message) {
  const parts = [];
  for (const [name, value] of Object.entries(message)) {
    const field = fields[name];
    if (field === undefined) throw new Error(`no field is called ${name}`);
    for (const each of field.list ? entriesOf(value) : [value]) parts.push(encodeField(field, each));
  }
  return Buffer.concat(parts);
}

/** @param {any} value A list, or a map as in JSON. */
const entriesOf = (value) => (Array.isArray(value) ? value : Object.entries(value).map(([key, value]) => ({ key, value })));

/** @param {Field} field @param {any} value */
function encodeField({ number, of }, value) {
  if (typeof of === 'object') return delimited(number, encode(of, value));
  if (of === 'string' || of === 'bytes') return delimited(number, Buffer.from(value));
  return Buffer.concat([varint(number * 8), varint(Number(value))]);
}

/**
 * Decodes a message, as in JSON: all fields, int64 as strings.
 * @param {Fields} fields
 * @param {Buffer} bytes
 * @returns {Record<string, any>}
 */
function decode(fields, bytes) {
  /** @type {Record<string, any>} */
  const message = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, emptyOf(field)]));
  let at = 0;
  const readVarint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('the message ends within a number');
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(readVarint());
    const found = Object.entries(fields).find(([, field]) => field.number === tag >> 3);
    if (found === undefined) throw new Error(`the message has a field ${tag >> 3}`);
    const [name, field] = found;
    let raw;
    if ((tag & 7) === 2) {
      const length = Number(readVarint());
      raw = bytes.subarray(at, (at += length));
    } else {
      raw = readVarint();
    }
    const value = decodeField(field, raw);
    message[name] = field.list ? [...message[name], value] : value;
  }
  return message;
}

/**
 * The value of an absent field, and the conversion of its bytes or number.
 * @type {Record<string, { empty: unknown, from: (raw: any) => unknown }>}
 */
const VALUES = {
  string: { empty: '', from: String },
  bytes: { empty: '', from: String },
  number: { empty: 0, from: Number },
  int64: { empty: '0', from: String },
  bool: { empty: false, from: Boolean },
};

/** @param {Field} field */
function emptyOf({ of = 'bytes', list }) {
  if (list) return [];
  return typeof of === 'object' ? null : VALUES[of].empty;
}

/** @param {Field} field @param {any} raw */
function decodeField({ of = 'bytes' }, raw) {
  return typeof of === 'object' ? decode(of, raw) : VALUES[of].from(raw);
}

/** @param {string} method @param {object} message */
const encodeRequest = (method, message) => encode(requests[method], message);

/** @param {string} method @param {Buffer} bytes */
const decodeResponse = (method, bytes) => decode(responses[method], bytes);

module.exports = { decodeResponse, encodeRequest, methods: Object.keys(requests) };
