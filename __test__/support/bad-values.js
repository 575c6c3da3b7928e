'use strict';

// Invalid values by type, with names for tests.

const throwing = (trap) => () => {
  throw new Error(`the ${trap} trap threw`);
};

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Values that are invalid for every parameter. */
const ALWAYS_INVALID = {
  null: null,
  'a BigInt': 1n,
  'a symbol': Symbol('s'),
  'a function': () => 'room',
  'an async function': async () => 'room',
  'a class': class Room {},
};

const NOT_RECORDS = {
  ...ALWAYS_INVALID,
  true: true,
  false: false,
  zero: 0,
  one: 1,
  'a fraction': 0.5,
  'a negative number': -1,
  NaN: NaN,
  Infinity,
  'an empty string': '',
  'a string': 'text',
  'a JSON string': '{}',
  'an empty array': [],
  'an array of records': [{}],
  'an array of pairs': [['a', 'b']],
  'a zero BigInt': 0n,
  'a registered symbol': Symbol.for('s'),
  'a generator function': function* generator() {},
  'a proxy of a function': new Proxy(() => {}, {}),
  'a proxy of an array': new Proxy([], {}),
  'a revoked proxy': revoked(),
};

const OBJECTS = {
  'an object': {},
  'an array': ['text'],
  'an empty array': [],
  'a date': new Date(0),
  'a map': new Map(),
  'a promise': Promise.resolve('text'),
  'a buffer': Buffer.from('text'),
  'a regular expression': /text/,
  'an object with toString': { toString: () => 'text' },
  'an object whose conversion throws': { toString: throwing('toString'), valueOf: throwing('valueOf') },
  'an object with Symbol.toPrimitive': { [Symbol.toPrimitive]: () => 1 },
  'a proxy whose traps throw': new Proxy({}, { get: throwing('get'), ownKeys: throwing('ownKeys'), has: throwing('has'), getPrototypeOf: throwing('getPrototypeOf') }),
  'a revoked proxy': revoked(),
};

const NOT_STRINGS = {
  ...ALWAYS_INVALID,
  ...OBJECTS,
  true: true,
  false: false,
  zero: 0,
  'a number': 7,
  NaN: NaN,
  Infinity,
  'a boxed string': Object('text'),
  'a URL': new URL('http://text'),
};

const UNPAIRED_SURROGATES = {
  'a high surrogate': '\ud800',
  'a low surrogate': '\udc00',
  'a surrogate between letters': 'a\udbffb',
  'a reversed surrogate pair': '\udc00\ud800',
  'a surrogate at the end': 'text\ud83d',
};

const BAD_TEXTS = { ...NOT_STRINGS, ...UNPAIRED_SURROGATES };

/** Invalid names, also by length and control characters. `used`: bytes of the prefix. */
const badNames = (used = 0) => ({
  ...BAD_TEXTS,
  'an empty string': '',
  'a null byte': 'a\0b',
  'only a null byte': '\0',
  'a line break': 'a\n',
  'a carriage return': '\ra',
  'a tab': 'a\tb',
  'an escape': '\u001b[2J',
  'a delete': 'a\u007f',
  'a C1 control': 'a\u0085b',
  'the last C1 control': '\u009f',
  'one byte too many': 'x'.repeat(257 - used),
  'one byte too many, in two-byte letters': `${'é'.repeat((256 - used) >> 1)}${(256 - used) % 2 ? 'ab' : 'a'}`,
  'one byte too many, in emoji': `${'😀'.repeat((256 - used) >> 2)}${'x'.repeat(((256 - used) % 4) + 1)}`,
  'a very long one': 'x'.repeat(1_000_000),
});

const NOT_NUMBERS = {
  ...ALWAYS_INVALID,
  ...OBJECTS,
  true: true,
  false: false,
  'an empty string': '',
  'a number as text': '1',
  'hexadecimal text': '0x10',
  'a boxed number': Object(1),
};

/** Invalid values of an integer from `min` to `max`. */
const badNumbers = (min, max) => ({
  ...NOT_NUMBERS,
  'minus one': -1,
  'a small negative': -Number.MIN_VALUE,
  'below the minimum': min - 1,
  NaN: NaN,
  Infinity,
  'minus Infinity': -Infinity,
  'a half': 0.5,
  'one and a half': 1.5,
  'the smallest number': Number.MIN_VALUE,
  'a fraction below the maximum': max - 0.5,
  'past the maximum': max + 1,
  'past u32': 2 ** 32,
  'past safe integers': 2 ** 53,
  'the largest number': Number.MAX_VALUE,
});

const NOT_BOOLEANS = {
  ...ALWAYS_INVALID,
  ...OBJECTS,
  zero: 0,
  one: 1,
  NaN: NaN,
  'an empty string': '',
  'true as text': 'true',
  'false as text': 'false',
  yes: 'yes',
  'a boxed boolean': Object(false),
};

const BAD_SOURCES = {
  ...NOT_RECORDS,
  'an empty array': [],
  'an array of records': [{}],
  'a record': {},
  'a source without an array': 'camera',
  'a set of sources': new Set(['camera']),
  'an array-like object': { 0: 'camera', length: 1 },
  'an unknown source': ['unknown'],
  'in capitals': ['CAMERA'],
  'in camel case': ['screenShare'],
  'with a space': ['camera '],
  'an empty source': [''],
  'null beside a source': ['camera', null],
  'undefined': [undefined],
  'a hole': Array(1),
  'an array in an array': [['camera']],
  "LiveKit's own number": [1],
  'a valid and an unknown source': ['microphone', 'desktop'],
  'sources in one string': ['camera,microphone'],
  'an array whose elements throw': Object.defineProperty(['camera'], 0, { get: throwing('element') }),
};

const BAD_ATTRIBUTES = {
  ...NOT_RECORDS,
  'a map': new Map([['a', 'b']]),
  'a promise': Promise.resolve({ a: 'b' }),
  'a number inside': { a: 1 },
  'null inside': { a: null },
  'undefined inside': { a: undefined },
  'true inside': { a: true },
  'a record inside': { a: {} },
  'an array inside': { a: ['b'] },
  'a symbol inside': { a: Symbol('b') },
  'a BigInt inside': { a: 1n },
  'a function inside': { a: () => 'b' },
  'an unpaired surrogate inside': { a: '\ud800' },
  'an unpaired surrogate as a key': { '\ud800': 'a' },
  'an invalid value among valid ones': { a: 'b', c: 'd', e: 5 },
  'a getter that throws': { get a() { return throwing('getter')(); } },
  'a proxy whose keys throw': new Proxy({}, { ownKeys: throwing('ownKeys') }),
};

const listener = { addEventListener() {}, removeEventListener() {} };
const BAD_SIGNALS = {
  ...NOT_RECORDS,
  'an empty record': {},
  'an AbortController': new AbortController(),
  'an event target': new EventTarget(),
  'a promise': Promise.resolve(),
  'only aborted': { aborted: false },
  'without aborted': { ...listener },
  'aborted as text': { ...listener, aborted: 'false' },
  'aborted as number': { ...listener, aborted: 0 },
  'aborted null': { ...listener, aborted: null },
  'no addEventListener': { aborted: false, removeEventListener() {} },
  'no removeEventListener': { aborted: false, addEventListener() {} },
  'a record as addEventListener': { aborted: false, addEventListener: {}, removeEventListener() {} },
  'a getter that throws': { ...listener, get aborted() { return throwing('getter')(); } },
  'one whose addEventListener throws': { aborted: false, addEventListener: throwing('addEventListener'), removeEventListener() {} },
};

/** Invalid values of a record with these fields. */
const badRecords = (good, fields) => ({
  ...NOT_RECORDS,
  'a proxy whose get trap throws': new Proxy({ ...good }, { get: throwing('get') }),
  'a proxy whose ownKeys trap throws': new Proxy({ ...good }, { ownKeys: throwing('ownKeys') }),
  'a revoked proxy': revoked(),
  ...Object.fromEntries(fields.map((field) => [`a ${field} that throws`, Object.defineProperty({ ...good }, field, { enumerable: true, get: throwing('getter') })])),
});

module.exports = { BAD_ATTRIBUTES, BAD_SIGNALS, BAD_SOURCES, BAD_TEXTS, NOT_BOOLEANS, NOT_RECORDS, badNames, badNumbers, badRecords };
