'use strict';

// What is and what is not a message.

const { deviates } = require('../deviations.js');
const { denied, gives, malformedJson, malformedProtobuf, noParticipant, room, text } = require('../support/answers.js');
const { admin } = require('./calls.js');

/** @typedef {import('../support/server.js').Request} Request */

/** @param {string} title @param {string | Buffer} body @param {Request['expected']} expected @param {Partial<Request>} [more] @returns {Request} */
const json = (title, body, expected, more) => ({ title: `JSON: ${title}`, method: 'CreateRoom', body, token: admin, expected, ...more });
/** @type {typeof json} */
const protobuf = (title, body, expected, more) => ({
  ...json(title, body, expected, more),
  title: `protobuf: ${title}`,
  encoding: 'protobuf',
});
/** @type {typeof json} */
const sends = (title, body, expected) => json(title, body, expected, { method: 'SendData', room: {} });

const nested = (/** @type {number} */ depth) => `{"name":"$room","unknown":${'['.repeat(depth)}${']'.repeat(depth)}}`;

const goodJson = [
  json('snake_case', '{"name":"$room","empty_timeout":7}', gives(room({ empty_timeout: 7 }))),
  json('camelCase', '{"name":"$room","emptyTimeout":7}', gives(room({ empty_timeout: 7 }))),
  json('unknown fields are ignored', '{"name":"$room","unknown":{"deep":[1,{"a":null}]}}', gives(room({}))),
  json('unknown fields may be deep', nested(100), gives(room({}))),
  json('unknown fields may be very deep', nested(1_000), deviates('a message nested deeper than 128 levels', 'is not read')),
  json('null is not given', '{"name":"$room","emptyTimeout":null,"tags":null,"agents":null}', gives(room({}))),
  json('a number may be a string', '{"name":"$room","emptyTimeout":"7"}', gives(room({ empty_timeout: 7 }))),
  json('a whole number may have a fraction', '{"name":"$room","emptyTimeout":7.0}', gives(room({ empty_timeout: 7 }))),
  json('a whole number may have an exponent', '{"name":"$room","emptyTimeout":70e-1}', gives(room({ empty_timeout: 7 }))),
  json('blanks around it', ' \r\n\t{ "name" : "$room" }\n', gives(room({}))),
  json('escapes', String.raw`{"n\u0061me":"$room\u00e9\ud83c\udfa5\/"}`, gives(room({ name: '$roomé🎥/' }))),
  json('an enum by name', '{"room":"$room","kind":"LOSSY"}', gives({}), { method: 'SendData', room: {} }),
  sends('an enum by number', '{"room":"$room","kind":1}', gives({})),
  sends('an enum by an unknown number', '{"room":"$room","kind":99}', deviates('an enum value that nobody knows', 'is not read')),
  sends('an enum by an unknown name', '{"room":"$room","kind":"NONE"}', deviates('an enum value that nobody knows', 'is not read')),
  sends('base64 with padding', '{"room":"$room","data":"+/8="}', gives({})),
  sends('base64 without padding', '{"room":"$room","data":"aA"}', gives({})),
  sends('base64 of URLs', '{"room":"$room","data":"-_8="}', gives({})),
  json('an int64 as a string', '{"room":"$room","identity":"nobody","revoke_token_ts":"5"}', noParticipant, {
    method: 'RemoveParticipant',
  }),
  json('an int64 as a number', '{"room":"$room","identity":"nobody","revokeTokenTs":5}', noParticipant, { method: 'RemoveParticipant' }),
  json('the empty object', '{}', gives({ participants: [] }), { method: 'ListParticipants', token: { video: { roomAdmin: true } } }),
  json('something after the object', '{"name":"$room"} x', gives(room({}))),
];

const badJson = Object.entries({
  'no body': '',
  'only blanks': ' \n',
  null: 'null',
  'a list': '[]',
  'a string': '"$room"',
  'half an object': '{"name":"$room"',
  'a comma too many': '{"name":"$room",}',
  'a comment': '{"name":"$room"/* */}',
  'single quotes': "{'name':'$room'}",
  'a string that is a number': '{"name":7}',
  'a string that is a list': '{"name":["$room"]}',
  'a number that is negative': '{"name":"$room","emptyTimeout":-1}',
  'a number with a fraction': '{"name":"$room","emptyTimeout":7.5}',
  'a number that is too large': '{"name":"$room","emptyTimeout":4294967296}',
  'a number that is a truth': '{"name":"$room","emptyTimeout":true}',
  'a number that is text': '{"name":"$room","emptyTimeout":"seven"}',
  'a truth that is a number': '{"name":"$room","syncStreams":1}',
  'a truth that is a string': '{"name":"$room","syncStreams":"true"}',
  'a map with a number in it': '{"name":"$room","tags":{"a":1}}',
  'a list that is a string': '{"names":"$room"}',
  'a field twice': '{"name":"$room","name":"$room"}',
  'a field in both spellings': '{"name":"$room","emptyTimeout":1,"empty_timeout":1}',
  'half a surrogate pair': String.raw`{"name":"$room\ud800"}`,
  'a bare line break in a string': '{"name":"$room\n"}',
  'a byte order mark': '\ufeff{"name":"$room"}',
  'nesting without end': nested(20_000),
}).map(([title, body]) => json(title, body, malformedJson, title === 'a list that is a string' ? { method: 'ListRooms' } : {}));

const otherBadJson = [
  json('bytes that are no UTF-8', Buffer.from('{"name":"\xff\xfe"}', 'latin1'), malformedJson),
  json('protobuf', Buffer.from([0x0a, 1, 0x78]), malformedJson),
  json('no body, without a token', '', malformedJson, { token: undefined }),
  json('null in a list', '{"names":[null]}', malformedJson, { method: 'ListRooms' }),
  sends('what is not base64', '{"room":"$room","data":"!!"}', malformedJson),
  json('a compressed body', Buffer.from('1f8b0800000000000003abae05000043bfa6a302000000', 'hex'), malformedJson, {
    headers: { 'content-encoding': 'gzip' },
  }),
];

/** A room of no name would be left behind: another method. @type {Partial<Request>} */
const noRoom = { method: 'ListParticipants', token: { video: { roomAdmin: true } } };

const otherType = deviates('a field of another type than it has', 'is not read');

const protobufs = [
  protobuf('no body', '', gives({ participants: [] }), noRoom),
  protobuf('unknown fields are ignored', Buffer.from([0xf8, 0x3f, 1]), gives({ participants: [] }), noRoom),
  protobuf('a field of another type is an unknown one', Buffer.from([0x08, 5]), otherType, noRoom),
  protobuf('the last of a field counts', Buffer.from([0x0a, 1, 0x78, 0x0a, 0]), gives({ participants: [] }), noRoom),
  protobuf('a message that is cut off', Buffer.from([0x0a, 5, 0x78]), malformedProtobuf),
  protobuf('bytes that are no UTF-8', Buffer.from([0x0a, 2, 0xff, 0xfe]), malformedProtobuf),
  protobuf('a field without a number', Buffer.from([0x00, 1]), malformedProtobuf),
  protobuf('the end of a group that never began', Buffer.from([0x0c]), malformedProtobuf),
  protobuf('a number without an end', Buffer.from([0x10, ...Array.from({ length: 11 }, () => 0xff)]), malformedProtobuf),
  protobuf('JSON', '{"name":"$room"}', malformedProtobuf),
  protobuf('a message that is cut off, without a token', Buffer.from([0x0a, 5]), malformedProtobuf, { token: undefined }),
  protobuf('a good message without a token', Buffer.from([0x0a, 1, 0x78]), denied, { token: undefined }),
];

const LIMIT = 10 * 1024 * 1024;
const tooLong = text(413, 'request body too large');
/** @param {number} bytes */
const longJson = (bytes) => () => Buffer.concat([Buffer.from('{"names":["none"]'), Buffer.alloc(bytes - 18, ' '), Buffer.from('}')]);
/** An unknown field of as many bytes. @param {number} bytes */
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
const byteMore = { mayBeReset: true, title: 'JSON: a byte more, with Content-Length', body: longJson(LIMIT + 1), expected: tooLong, method: 'ListRooms', token: admin };

const lengths = [false, true].flatMap((chunked) => {
  const how = chunked ? 'without Content-Length' : 'with Content-Length';
  /** @type {Partial<Request>} */
  const listRooms = { method: 'ListRooms', token: admin, chunked };
  /** @type {Request[]} */
  const requests = [
    { title: `JSON: 10 MiB ${how}`, body: longJson(LIMIT), expected: gives({ rooms: [] }), ...listRooms },
    {
      title: `protobuf: 10 MiB ${how}`,
      body: longProtobuf(LIMIT),
      ...noRoom,
      encoding: 'protobuf',
      chunked,
      expected: gives({ participants: [] }),
    },
  ];
  return requests;
});

module.exports = [...goodJson, ...badJson, ...otherBadJson, ...protobufs, ...lengths, byteMore];
