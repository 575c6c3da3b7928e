'use strict';

// Where the embedded engine deviates from livekit-server 1.13.11 on purpose. All other responses must be equal.

const { denied, empty, gives, invalid, invalidToken, malformedJson, malformedProtobuf, noParticipant, noRoom, refuses, room, text } = require('./support/answers.js');

/**
 * @typedef {import('./support/answers.js').Answer} Answer
 * @typedef {{ livekit: Answer, engine: Answer }} Both
 * @typedef {{ deviation: string, which: string }} Deviating
 */

/** How soon the engine answers where livekit-server waits three seconds for an answer that cannot come. */
const AT_ONCE_MS = 1500;
const silence = refuses(503, 'unavailable', 'no response from servers');

const noRooms = gives({ rooms: [] });
const unreadable = text(401, 'invalid authorization token: token is malformed: could not JSON decode claim');
const malformed = text(401, 'invalid authorization token');

/** @type {Record<string, { why: string, cases: Record<string, Both> }>} */
const deviations = {
  'a token that is refused': {
    why: 'The status is the same. The text is for people: it names the first fault and the decoder\'s reason.',
    cases: {
      'for its algorithm': {
        livekit: text(401, /^invalid authorization token: token signature is invalid: signing method \w+ is invalid$/),
        engine: malformed,
      },
      'for its claims': {
        livekit: text(401, /^invalid authorization token: token is malformed: could not JSON decode claim: .+$/),
        engine: unreadable,
      },
      'for its padding': { livekit: malformed, engine: unreadable },
      'for a beginning that is none': { livekit: malformed, engine: unreadable },
    },
  },
  'a token whose header must be understood': {
    why: 'Who does not know a header that is called critical must refuse the token (RFC 7515, section 4.1.11).',
    cases: { 'is refused': { livekit: noRooms, engine: malformed } },
  },
  'a token whose end is text': {
    why: 'RFC 7519, section 2, defines it as a number, and every LiveKit SDK writes one.',
    cases: { 'is refused': { livekit: noRooms, engine: invalidToken.noExpiry } },
  },
  'a token that can be read in two ways': {
    why: 'Two readers must not see two tokens in one (RFC 7519, section 4, lets a server refuse): names are as documented, and come once.',
    cases: {
      'by its issuers': { livekit: noRooms, engine: malformed },
      'by its ends': { livekit: noRooms, engine: unreadable },
      'by its grants': { livekit: noRooms, engine: unreadable },
      'by the case of a grant': { livekit: noRooms, engine: refuses(401, 'unauthenticated', 'permissions denied') },
    },
  },
  'a participant who is not there': {
    why: 'livekit-server asks all nodes and hears nothing. The engine is the only node: it knows.',
    cases: { 'is answered for at once': { livekit: silence, engine: { ...noParticipant, withinMs: AT_ONCE_MS } } },
  },
  'a room that is not there': {
    why: 'As for a participant: the engine need not ask whether some node has the room.',
    cases: { 'is answered for at once': { livekit: silence, engine: { ...noRoom, withinMs: AT_ONCE_MS } } },
  },
  'the TURN password of a room': {
    why: 'It is a secret that livekit-server tells everyone who may list rooms. The engine has no TURN server, and so no password for one.',
    cases: { 'is told': { livekit: gives(room({ turn_password: /^[0-9A-Za-z]{40,}$/ })), engine: gives(room({ turn_password: '' })) } },
  },
  'a message nested deeper than 128 levels': {
    why: 'livekit-server goes down to 10,000. No message has more than 5, and whoever sends more means no good.',
    cases: { 'is not read': { livekit: gives(room({})), engine: malformedJson } },
  },
  'a field of another type than it has': {
    why: 'livekit-server takes it for an unknown field. No encoder writes one: it is damage, and the engine says so.',
    cases: { 'is not read': { livekit: gives({ participants: [] }), engine: malformedProtobuf } },
  },
  'an enum value that nobody knows': {
    why: 'livekit-server drops it: a list of sources that hold nothing but typing errors is then empty, and so allows all. The engine says so.',
    cases: { 'is not read': { livekit: gives({}), engine: malformedJson } },
  },
  'a path that is not clean': {
    why: 'livekit-server redirects, as Go does; a POST that is redirected often arrives as a GET.',
    cases: {
      'is not found, where a slash is missing': {
        livekit: empty(307, { location: '/twirp/livekit.RoomService/' }),
        engine: text(404, '404 page not found\n'),
      },
      'is not found, where one is too many': {
        livekit: empty(307, { location: '/twirp/livekit.RoomService/ListRooms' }),
        engine: text(404, '404 page not found\n'),
      },
    },
  },
  'a service that the engine does not have': {
    why: 'Recording, ingress, telephony and agents need servers or workers of their own. The engine rejects these calls at once, with any token.',
    cases: {
      'is not implemented': {
        livekit: refuses(401, 'unauthenticated', 'permissions denied'),
        engine: refuses(501, 'unimplemented', /^\/twirp\/livekit\.\w+\/\w+: not supported by this server$/),
      },
      'is not implemented, if livekit-server has none of that name either': {
        livekit: text(404, '404 page not found\n'),
        engine: refuses(501, 'unimplemented', /^\/twirp\/livekit\.\w+\/\w+: not supported by this server$/),
      },
    },
  },
  'a room with what the engine does not have': {
    why: 'livekit-server accepts agents without a worker, and a playout delay; egress fails there without a recorder. The engine supports none of them, and rejects the request instead of creating a room without them.',
    cases: {
      'is not made, with agents': { livekit: gives(room({})), engine: refuses(501, 'unimplemented', 'agents: not supported by this server') },
      'is not made, with a playout delay': {
        livekit: gives(room({})),
        engine: refuses(501, 'unimplemented', 'a playout delay: not supported by this server'),
      },
      'is not made, with synchronized streams': {
        livekit: gives(room({})),
        engine: refuses(501, 'unimplemented', 'synchronized streams: not supported by this server'),
      },
      'is not joined, with agents': { livekit: text(200, 'success'), engine: text(403, 'agents: not supported by this server') },
      'is not joined, with a playout delay': { livekit: text(200, 'success'), engine: text(403, 'a playout delay: not supported by this server') },
    },
  },
  'a join that livekit-server refuses later': {
    why: 'livekit-server answers "success", and then ends the connection without a reason. The engine checks first, so that the user sees the reason.',
    cases: {
      'is refused, for its preset': { livekit: text(200, 'success'), engine: text(403, 'unknown room configuration in create room request') },
      'is refused, for its metadata': { livekit: text(200, 'success'), engine: text(403, 'metadata size exceeds limits 524288') },
      'is refused, for its attributes': { livekit: text(200, 'success'), engine: text(403, 'attribute size exceeds limits 65536') },
    },
  },
  'a long body without a permission': {
    why: 'livekit-server reads and decodes long bodies without a token, too. The engine stops at 64 KiB, because its memory is the application\'s.',
    cases: {
      'is not read': {
        livekit: invalid('metadata size exceeds limits', '524288'),
        engine: denied,
      },
    },
  },
  'a long name in a token': {
    why: 'livekit-server limits the name to 256 bytes in an update, but not in a token. The engine limits both, because every participant of the room receives it.',
    cases: { 'is refused': { livekit: text(200, 'success'), engine: text(403, 'name length exceeds limits 256') } },
  },
  'who answers': {
    why: 'The engine says who it is, so that nobody takes it for the server that it stands in for.',
    cases: {
      'is told': {
        livekit: text(200, 'OK', { server: undefined }),
        engine: text(200, 'OK', { server: /^maravilla-media\/\d+\.\d+\.\d+/ }),
      },
    },
  },
};

/**
 * What participants find otherwise: values of any kind, which the tests of the sessions name.
 * @type {Record<string, { why: string, cases: Record<string, { livekit: any, engine: any }> }>}
 */
const experiences = {
  'the version of the server': {
    why: 'Clients rely on the version: after 1.13.6 they send VP9 and AV1 as simulcast, and from protocol 18 they use data channels with fixed ids.',
    cases: {
      'is reported': { livekit: { version: '1.13.11', protocol: 18 }, engine: { version: '1.13.5', protocol: 17 } },
    },
  },
  'a full room': {
    why: 'livekit-server lets the token pass, and then ends the connection without a reason. Nobody can show that to a user.',
    cases: {
      'refuses by its name': {
        livekit: { upgrade: text(500, 'connection closed by media'), validate: text(200, 'success') },
        engine: {
          upgrade: text(403, 'room has exceeded its max participants'),
          validate: text(403, 'room has exceeded its max participants'),
        },
      },
    },
  },
  'a participant who goes while it is called': {
    why: 'livekit-server tells this or that, as it happens to notice first. The engine says that the participant has gone.',
    cases: { 'is given up': { livekit: [404, 408, 503], engine: [503] } },
  },
  'who leaves while another resumes': {
    why: 'livekit-server tells whoever resumes of those who are there: who has left just then may stay on its list. The engine tells of those, too.',
    cases: {
      'is told to have left': { livekit: [undefined, 3], engine: [3] },
      'is there for it': { livekit: [true, false], engine: [false] },
    },
  },
  'who comes back hidden': {
    why: 'livekit-server tells nobody that the one of that identity whom all could see has gone. The engine does.',
    cases: { 'is there for the others': { livekit: true, engine: false } },
  },
  'a client that publishes again and again': {
    why: 'A browser adds a section for each track that it publishes. The engine rejects sections that are no longer used, so that browsers recycle them.',
    cases: { 'has sections': { livekit: 70, engine: 20 } },
  },
  'a connection that nothing comes from': {
    why: 'livekit-server checks every five seconds, and reports a track as lost after two intervals without packets. The engine checks five times a second.',
    cases: { 'is reported within': { livekit: 24_000, engine: 11_000 } },
  },
  'the number of participants': {
    why: 'livekit-server counts every few seconds. The engine counts whoever comes and goes.',
    cases: { 'is told within': { livekit: 12_000, engine: 2_000 } },
  },
};

/** What participants find on a server of that kind. @param {string} experience @param {string} which @param {'engine' | 'livekit'} kind */
function experienceOf(experience, which, kind) {
  const found = experiences[experience]?.cases[which];
  if (found === undefined) throw new Error(`no experience is called ${experience}: ${which}`);
  return found[kind];
}

/** @param {string} deviation @param {string} which @returns {Deviating} */
function deviates(deviation, which) {
  if (deviations[deviation]?.cases[which] === undefined) throw new Error(`no deviation is called ${deviation}: ${which}`);
  return { deviation, which };
}

/** What a server of that kind is expected to answer. @param {Answer | Deviating} expected @param {'engine' | 'livekit'} kind @returns {Answer} */
const expectedOf = (expected, kind) => ('deviation' in expected ? deviations[expected.deviation].cases[expected.which][kind] : expected);

module.exports = { deviates, deviations, expectedOf, experienceOf, experiences };
