'use strict';

// Where the embedded engine answers otherwise than livekit-server 1.13.5, on purpose. All else must be equal.

const { empty, gives, malformedJson, malformedProtobuf, noParticipant, noRoom, refuses, room, text } = require('./support/answers.js');

/**
 * @typedef {import('./support/answers.js').Answer} Answer
 * @typedef {{ livekit: Answer, engine: Answer }} Both
 * @typedef {{ deviation: string, which: string }} Deviating
 */

/** How soon the engine answers where livekit-server waits three seconds for an answer that cannot come. */
const AT_ONCE_MS = 1500;
const silence = refuses(503, 'unavailable', 'twirp error unknown: no response from servers');

/** A token that livekit-server refuses, and repeats. @param {string} reason @param {string} ours @returns {Both} */
const repeated = (reason, ours) => ({
  livekit: text(401, new RegExp(`^invalid token: eyJ\\S+, error: ${reason}$`)),
  engine: text(401, ours),
});

const noRooms = gives({ rooms: [] });
const unreadable = 'invalid token, error: its claims cannot be read';

/** @type {Record<string, { why: string, cases: Record<string, Both> }>} */
const deviations = {
  'a token that is refused': {
    why: 'livekit-server puts the whole token into its answer, and so into logs. The engine never does; its reasons are its own.',
    cases: {
      'for its signature': repeated(
        'token signature is invalid: signature is invalid',
        'invalid token, error: the signature does not fit the secret',
      ),
      'for its algorithm': repeated('token signature is invalid: signing method \\w+ is invalid', 'invalid authorization token'),
      'for its age': repeated('token has invalid claims: token is expired', 'invalid token, error: it has expired'),
      'for its youth': repeated('token has invalid claims: token is not valid yet', 'invalid token, error: it is not valid yet'),
      'for its claims': repeated('token is malformed: could not JSON decode claim: .+', unreadable),
      'for its padding': { livekit: text(401, 'invalid authorization token'), engine: text(401, unreadable) },
      'for a beginning that is none': { livekit: text(401, 'invalid authorization token'), engine: text(401, unreadable) },
    },
  },
  'a token of an unknown key': {
    why: 'livekit-server repeats the key that the token names. Whoever has mistaken the secret for the key then reads it in a log.',
    cases: {
      'is not repeated': { livekit: text(401, 'invalid API key: APInone'), engine: text(401, 'invalid API key') },
      'is not repeated, if empty': { livekit: text(401, 'invalid API key: '), engine: text(401, 'invalid API key') },
    },
  },
  'a token whose header must be understood': {
    why: 'Who does not know a header that is called critical must refuse the token (RFC 7515, section 4.1.11).',
    cases: { 'is refused': { livekit: noRooms, engine: text(401, 'invalid authorization token') } },
  },
  'a token without an end': {
    why: 'It would be good for ever, in the hands of a thief too; every LiveKit SDK writes `exp`, as a number.',
    cases: {
      'is refused': { livekit: noRooms, engine: text(401, 'invalid token, error: it has no exp') },
      'opens no room': { livekit: text(200, 'success'), engine: text(401, 'invalid token, error: it has no exp') },
      'is one whose end is text': { livekit: noRooms, engine: text(401, 'invalid token, error: it has no exp') },
    },
  },
  'a token that can be read in two ways': {
    why: 'Two readers must not see two tokens in one (RFC 7519, section 4, lets a server refuse): names are as documented, and come once.',
    cases: {
      'by its issuers': { livekit: noRooms, engine: text(401, 'invalid authorization token') },
      'by its ends': { livekit: noRooms, engine: text(401, unreadable) },
      'by its grants': { livekit: noRooms, engine: text(401, unreadable) },
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
  'a room that was deleted': {
    why: 'deleteRoom revokes: no token minted before opens the room again. livekit-server makes it anew for whoever comes.',
    cases: {
      'takes no older token': {
        livekit: text(200, 'success'),
        engine: text(401, 'invalid token, error: it was minted before its room was deleted'),
      },
    },
  },
  'the words of an error': {
    why: 'The prefix tells nothing, and livekit-server has it in some versions only: clients go by status and code.',
    cases: {
      'have no prefix': {
        livekit: refuses(404, 'not_found', 'twirp error unknown: requested room does not exist'),
        engine: refuses(404, 'not_found', 'requested room does not exist'),
      },
    },
  },
  'the TURN password of a room': {
    why: 'It is a secret that livekit-server tells everyone who may list rooms. The engine has no TURN server, and so no password for one.',
    cases: { 'is told': { livekit: gives(room({ turn_password: /^[0-9A-Za-z]{40,}$/ })), engine: gives(room({ turn_password: '' })) } },
  },
  'a body of more than 10 MiB': {
    why: 'livekit-server 1.13.5 reads bodies of any length. Later ones stop there, as the engine does.',
    cases: { 'is not read': { livekit: noRooms, engine: text(413, 'request body too large') } },
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
  'a service of another purpose': {
    why: 'Recording, ingress, telephony and agents need servers of their own beside livekit-server. The engine has none of them.',
    cases: {
      'is not found': { livekit: refuses(401, 'unauthenticated', 'permissions denied'), engine: text(404, '404 page not found\n') },
    },
  },
  'a token in a form': {
    why: 'livekit-server takes parameters from the body of a POST too, as Go does. No client sends any there.',
    cases: { 'is not read': { livekit: text(200, 'success'), engine: text(401, 'no permissions to access the room') } },
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
