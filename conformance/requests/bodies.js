'use strict';

// Bodies that are, and are not, a message in JSON or protobuf.

const { deviates } = require('../deviations.js');
const { denied, malformedJson, malformedProtobuf, noParticipant, ok, room, text } = require('../support/responses.js');
const { admin } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

/** @param {string} title @param {Request['body']} body @param {Request['expected']} expected @param {Partial<Request>} [more] @returns {Request} */
const json = (title, body, expected, more) => ({ title: `JSON: ${title}`, method: 'CreateRoom', body, token: admin, expected, ...more });
/** @type {typeof json} */
const protobuf = (title, body, expected, more) => ({
  ...json(title, body, expected, more),
  title: `protobuf: ${title}`,
  encoding: 'protobuf',
});
/** @type {typeof json} */
const sendData = (title, body, expected) => json(title, body, expected, { method: 'SendData', room: {} });

const nested = (/** @type {number} */ depth) => `{"name":"$room","unknown":${'['.repeat(depth)}${']'.repeat(depth)}}`;

const goodJson = [
  json('snake_case', '{"name":"$room","empty_timeout":7}', ok(room({ empty_timeout: 7 }))),
  json('camelCase', '{"name":"$room","emptyTimeout":7}', ok(room({ empty_timeout: 7 }))),
  json('unknown fields are ignored', '{"name":"$room","unknown":{"deep":[1,{"a":null}]}}', ok(room({}))),
  json('unknown fields may be nested 100 levels deep', nested(100), ok(room({}))),
  json('unknown fields nested 1,000 levels deep', nested(1_000), deviates('message nested deeper than 128 levels', 'rejected')),
  json('null stands for the default', '{"name":"$room","emptyTimeout":null,"tags":null,"agents":null}', ok(room({}))),
  json('a number may be a string', '{"name":"$room","emptyTimeout":"7"}', ok(room({ empty_timeout: 7 }))),
  json('a whole number may have a fraction', '{"name":"$room","emptyTimeout":7.0}', ok(room({ empty_timeout: 7 }))),
  json('a whole number may have an exponent', '{"name":"$room","emptyTimeout":70e-1}', ok(room({ empty_timeout: 7 }))),
  json('whitespace around tokens', ' \r\n\t{ "name" : "$room" }\n', ok(room({}))),
  json('escapes', String.raw`{"n\u0061me":"$room\u00e9\ud83c\udfa5\/"}`, ok(room({ name: '$roomé🎥/' }))),
  json('an enum by name', '{"room":"$room","kind":"LOSSY"}', ok({}), { method: 'SendData', room: {} }),
  sendData('an enum by number', '{"room":"$room","kind":1}', ok({})),
  sendData('an enum by an unknown number', '{"room":"$room","kind":99}', deviates('unknown enum value', 'rejected')),
  sendData('an enum by an unknown name', '{"room":"$room","kind":"NONE"}', deviates('unknown enum value', 'rejected')),
  sendData('base64 with padding', '{"room":"$room","data":"+/8="}', ok({})),
  sendData('base64 without padding', '{"room":"$room","data":"aA"}', ok({})),
  sendData('base64url', '{"room":"$room","data":"-_8="}', ok({})),
  json('an int64 as a string', '{"room":"$room","identity":"unknown","revoke_token_ts":"5"}', noParticipant, {
    method: 'RemoveParticipant',
  }),
  json('an int64 as a number', '{"room":"$room","identity":"unknown","revokeTokenTs":5}', noParticipant, { method: 'RemoveParticipant' }),
  json('the empty object', '{}', ok({ participants: [] }), { method: 'ListParticipants', token: { video: { roomAdmin: true } } }),
  json('text after the object', '{"name":"$room"} x', ok(room({}))),
];

const badJson = Object.entries({
  'no body': '',
  'only whitespace': ' \n',
  null: 'null',
  'a list': '[]',
  'a string': '"$room"',
  'a truncated object': '{"name":"$room"',
  'a trailing comma': '{"name":"$room",}',
  'a comment': '{"name":"$room"/* */}',
  'single quotes': "{'name':'$room'}",
  'a number for a string': '{"name":7}',
  'a list for a string': '{"name":["$room"]}',
  'a negative number for a uint32': '{"name":"$room","emptyTimeout":-1}',
  'a fraction for a uint32': '{"name":"$room","emptyTimeout":7.5}',
  'a number too large for a uint32': '{"name":"$room","emptyTimeout":4294967296}',
  'a boolean for a number': '{"name":"$room","emptyTimeout":true}',
  'text for a number': '{"name":"$room","emptyTimeout":"seven"}',
  'a number for a boolean': '{"name":"$room","syncStreams":1}',
  'a string for a boolean': '{"name":"$room","syncStreams":"true"}',
  'a number as a map value': '{"name":"$room","tags":{"a":1}}',
  'a string for a list': '{"names":"$room"}',
  'a field twice': '{"name":"$room","name":"$room"}',
  'a field in snake_case and camelCase': '{"name":"$room","emptyTimeout":1,"empty_timeout":1}',
  'an unpaired surrogate': String.raw`{"name":"$room\ud800"}`,
  'an unescaped line break in a string': '{"name":"$room\n"}',
  'a byte order mark': '\ufeff{"name":"$room"}',
  '20,000 nested lists': nested(20_000),
}).map(([title, body]) => json(title, body, malformedJson, title === 'a string for a list' ? { method: 'ListRooms' } : {}));

const otherBadJson = [
  json('invalid UTF-8', Buffer.from('{"name":"\xff\xfe"}', 'latin1'), malformedJson),
  json('protobuf', Buffer.from([0x0a, 1, 0x78]), malformedJson),
  json('no body, without a token', '', malformedJson, { token: undefined }),
  json('null in a list', '{"names":[null]}', malformedJson, { method: 'ListRooms' }),
  sendData('text that is not base64', '{"room":"$room","data":"!!"}', malformedJson),
  json('a compressed body', Buffer.from('1f8b0800000000000003abae05000043bfa6a302000000', 'hex'), malformedJson, {
    headers: { 'content-encoding': 'gzip' },
  }),
];

/** These bodies name no room. CreateRoom would leave a room without a name behind, so another method is called. @type {Partial<Request>} */
const withoutRoom = { method: 'ListParticipants', token: { video: { roomAdmin: true } } };

const wrongType = deviates('protobuf field of the wrong type', 'rejected');

const protobufs = [
  protobuf('no body', '', ok({ participants: [] }), withoutRoom),
  protobuf('unknown fields are ignored', Buffer.from([0xf8, 0x3f, 1]), ok({ participants: [] }), withoutRoom),
  protobuf('a field of the wrong type', Buffer.from([0x08, 5]), wrongType, withoutRoom),
  protobuf('the last value of a repeated scalar counts', Buffer.from([0x0a, 1, 0x78, 0x0a, 0]), ok({ participants: [] }), withoutRoom),
  protobuf('a truncated message', Buffer.from([0x0a, 5, 0x78]), malformedProtobuf),
  protobuf('invalid UTF-8', Buffer.from([0x0a, 2, 0xff, 0xfe]), malformedProtobuf),
  protobuf('a field with the number 0', Buffer.from([0x00, 1]), malformedProtobuf),
  protobuf('the end of a group that was not started', Buffer.from([0x0c]), malformedProtobuf),
  protobuf('a varint of more than 10 bytes', Buffer.from([0x10, ...Array.from({ length: 11 }, () => 0xff)]), malformedProtobuf),
  protobuf('JSON', '{"name":"$room"}', malformedProtobuf),
  protobuf('a truncated message, without a token', Buffer.from([0x0a, 5]), malformedProtobuf, { token: undefined }),
  protobuf('a valid message without a token', Buffer.from([0x0a, 1, 0x78]), denied, { token: undefined }),
];

const MAX_BODY_BYTES = 10 * 1024 * 1024;
const bodyTooLarge = text(413, 'request body too large');
/** @param {number} bytes */
const longJson = (bytes) => () => Buffer.concat([Buffer.from('{"names":["none"]'), Buffer.alloc(bytes - 18, ' '), Buffer.from('}')]);
/** A message of so many bytes, in one unknown field. @param {number} bytes */
const longProtobuf = (bytes) => () => {
  const rest = bytes - 6;
  const length = [0, 7, 14].map((shift) => ((rest >> shift) & 127) | 128);
  return Buffer.concat([Buffer.from([0xfa, 0x3f, ...length, rest >> 21]), Buffer.alloc(rest)]);
};

/**
 * Without a Content-Length, livekit-server resets the connection during the upload, and what a client reads then varies. With one it may still
 * reset it before its response is read.
 * @type {Request}
 */
const tooLarge = { mayBeReset: true, title: 'JSON: a byte more than 10 MiB, with Content-Length', body: longJson(MAX_BODY_BYTES + 1), expected: bodyTooLarge, method: 'ListRooms', token: admin };

/** @type {Request[]} */
const lengths = [
  { title: 'JSON: 10 MiB with Content-Length', body: longJson(MAX_BODY_BYTES), expected: ok({ rooms: [] }), method: 'ListRooms', token: admin },
  { title: 'JSON: 10 MiB without Content-Length', body: longJson(MAX_BODY_BYTES), expected: ok({ rooms: [] }), method: 'ListRooms', token: admin, chunked: true },
  protobuf('10 MiB', longProtobuf(MAX_BODY_BYTES), ok({ participants: [] }), withoutRoom),
];

module.exports = [...goodJson, ...badJson, ...otherBadJson, ...protobufs, ...lengths, tooLarge];
