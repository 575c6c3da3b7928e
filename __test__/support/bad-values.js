'use strict';

// Wrong values by kind, each with the name that its test bears.

const throwing = (trap) => () => {
  throw new Error(`the ${trap} trap threw`);
};

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Values that are no record, string, number, boolean or array of the caller's: wrong for every parameter. */
const WRONG_FOR_ALL = {
  null: null,
  'a BigInt': 1n,
  'a symbol': Symbol('s'),
  'a function': () => 'room',
  'an async function': async () => 'room',
  'a class': class Room {},
};

const NO_RECORDS = {
  ...WRONG_FOR_ALL,
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
  'an object that turns into text': { toString: () => 'text' },
  'an object whose conversion throws': { toString: throwing('toString'), valueOf: throwing('valueOf') },
  'an object with a primitive inside': { [Symbol.toPrimitive]: () => 1 },
  'a proxy that throws at everything': new Proxy({}, { get: throwing('get'), ownKeys: throwing('ownKeys'), has: throwing('has'), getPrototypeOf: throwing('getPrototypeOf') }),
  'a revoked proxy': revoked(),
};

const NO_STRINGS = {
  ...WRONG_FOR_ALL,
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

const HALF_PAIRS = {
  'half a surrogate pair': '\ud800',
  'its other half': '\udc00',
  'half a pair within': 'a\udbffb',
  'a pair turned round': '\udc00\ud800',
  'half a pair at the end': 'text\ud83d',
};

const BAD_TEXTS = { ...NO_STRINGS, ...HALF_PAIRS };

/** For a name, which also has a length and no control characters. `used`: bytes that the prefix takes. */
const badNames = (used = 0) => ({
  ...BAD_TEXTS,
  nothing: '',
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

const NO_NUMBERS = {
  ...WRONG_FOR_ALL,
  ...OBJECTS,
  true: true,
  false: false,
  'an empty string': '',
  'a number as text': '1',
  'hexadecimal text': '0x10',
  'a boxed number': Object(1),
};

/** For a whole number from `least` to `most`. */
const badNumbers = (least, most) => ({
  ...NO_NUMBERS,
  'minus one': -1,
  'a small negative': -Number.MIN_VALUE,
  'below the least': least - 1,
  NaN: NaN,
  Infinity,
  'minus Infinity': -Infinity,
  'a half': 0.5,
  'one and a half': 1.5,
  'the smallest number': Number.MIN_VALUE,
  'a fraction near the top': most - 0.5,
  'past the top': most + 1,
  'past u32': 2 ** 32,
  'past what is exact': 2 ** 53,
  'the largest number': Number.MAX_VALUE,
});

const NO_BOOLEANS = {
  ...WRONG_FOR_ALL,
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
  ...NO_RECORDS,
  'an empty array': [],
  'an array of records': [{}],
  'a record': {},
  'a source without an array': 'camera',
  'a set of sources': new Set(['camera']),
  'like an array': { 0: 'camera', length: 1 },
  'an unknown source': ['unknown'],
  'in capitals': ['CAMERA'],
  'in camel case': ['screenShare'],
  'with a space': ['camera '],
  'one that is empty': [''],
  'one that is null': ['camera', null],
  'one that is undefined': [undefined],
  'a hole': Array(1),
  'an array in an array': [['camera']],
  "LiveKit's own number": [1],
  'a right one and a wrong one': ['microphone', 'desktop'],
  'all sources as one text': ['camera,microphone'],
  'an array whose elements throw': Object.defineProperty(['camera'], 0, { get: throwing('element') }),
};

const BAD_ATTRIBUTES = {
  ...NO_RECORDS,
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
  'half a surrogate pair inside': { a: '\ud800' },
  'half a surrogate pair as key': { '\ud800': 'a' },
  'one wrong among right ones': { a: 'b', c: 'd', e: 5 },
  'a getter that throws': { get a() { return throwing('getter')(); } },
  'a proxy whose keys throw': new Proxy({}, { ownKeys: throwing('ownKeys') }),
};

const listener = { addEventListener() {}, removeEventListener() {} };
const BAD_SIGNALS = {
  ...NO_RECORDS,
  'an empty record': {},
  'an AbortController': new AbortController(),
  'an event target': new EventTarget(),
  'a promise': Promise.resolve(),
  'only aborted': { aborted: false },
  'without aborted': { ...listener },
  'aborted as text': { ...listener, aborted: 'false' },
  'aborted as number': { ...listener, aborted: 0 },
  'aborted null': { ...listener, aborted: null },
  'nothing to add': { aborted: false, removeEventListener() {} },
  'nothing to remove': { aborted: false, addEventListener() {} },
  'a record to add': { aborted: false, addEventListener: {}, removeEventListener() {} },
  'a getter that throws': { ...listener, get aborted() { return throwing('getter')(); } },
  'one whose addEventListener throws': { aborted: false, addEventListener: throwing('addEventListener'), removeEventListener() {} },
};

/** For a record of these fields. */
const badRecords = (good, fields) => ({
  ...NO_RECORDS,
  'a proxy that throws at reading': new Proxy({ ...good }, { get: throwing('get') }),
  'a proxy that throws at its keys': new Proxy({ ...good }, { ownKeys: throwing('ownKeys') }),
  'a revoked proxy': revoked(),
  ...Object.fromEntries(fields.map((field) => [`a ${field} that throws`, Object.defineProperty({ ...good }, field, { enumerable: true, get: throwing('getter') })])),
});

module.exports = { BAD_ATTRIBUTES, BAD_SIGNALS, BAD_SOURCES, BAD_TEXTS, NO_BOOLEANS, badNames, badNumbers, badRecords };
