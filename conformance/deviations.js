'use strict';

// Where the embedded engine deviates from livekit-server 1.13.11 on purpose. All other responses must be equal.

const { denied, empty, invalid, invalidToken, malformedJson, malformedProtobuf, noParticipant, noRoom, ok, room, text, twirpError } = require('./support/responses.js');

/**
 * @typedef {import('./support/responses.js').Response} Response
 * @typedef {'engine' | 'livekit'} Kind
 * @typedef {{ livekit: Response, engine: Response }} Both
 * @typedef {{ deviation: string, which: string }} Deviating
 */

/** Maximum time the engine takes where livekit-server waits 3 s for other nodes. */
const AT_ONCE_MS = 1500;
const noResponse = twirpError(503, 'unavailable', 'no response from servers');

const noRooms = ok({ rooms: [] });
const unreadableClaims = text(401, 'invalid authorization token: token is malformed: could not JSON decode claim');
const malformed = text(401, 'invalid authorization token');
const notFound = text(404, '404 page not found\n');
const validated = text(200, 'success');
const unimplemented = twirpError(501, 'unimplemented', /^\/twirp\/livekit\.\w+\/\w+: not supported by this server$/);
/** @param {string} feature */
const createdWith = (feature) => ({ livekit: ok(room({})), engine: twirpError(501, 'unimplemented', `${feature}: not supported by this server`) });
/** @param {string} feature */
const joinedWith = (feature) => ({ livekit: validated, engine: text(403, `${feature}: not supported by this server`) });

/** Deviations in responses to single requests. @type {Record<string, { why: string, cases: Record<string, Both> }>} */
const deviations = {
  'rejected token': {
    why: 'The status is the same. The text is for people: it names the first error and the reason of the decoder.',
    cases: {
      algorithm: {
        livekit: text(401, /^invalid authorization token: token signature is invalid: signing method \w+ is invalid$/),
        engine: malformed,
      },
      claims: {
        livekit: text(401, /^invalid authorization token: token is malformed: could not JSON decode claim: .+$/),
        engine: unreadableClaims,
      },
      padding: { livekit: malformed, engine: unreadableClaims },
      nbf: { livekit: malformed, engine: unreadableClaims },
    },
  },
  'token with a crit header': {
    why: 'A recipient that does not know a critical header must reject the token (RFC 7515, section 4.1.11).',
    cases: { rejected: { livekit: noRooms, engine: malformed } },
  },
  'token with exp as a string': {
    why: 'RFC 7519, section 2, defines it as a number, and every LiveKit SDK writes a number.',
    cases: { rejected: { livekit: noRooms, engine: invalidToken.noExpiry } },
  },
  'ambiguous token': {
    why: 'Two parsers could read different claims from one token. RFC 7519, section 4, lets a server reject duplicate claims; misspelt ones are ignored.',
    cases: {
      iss: { livekit: noRooms, engine: malformed },
      exp: { livekit: noRooms, engine: unreadableClaims },
      video: { livekit: noRooms, engine: unreadableClaims },
      'grant in capitals': { livekit: noRooms, engine: denied },
    },
  },
  'unknown participant': {
    why: 'livekit-server sends the request to all nodes and waits for a response. The engine is the only node.',
    cases: { 'responds at once': { livekit: noResponse, engine: { ...noParticipant, withinMs: AT_ONCE_MS } } },
  },
  'unknown room': {
    why: 'As for a participant: the engine is the only node.',
    cases: { 'responds at once': { livekit: noResponse, engine: { ...noRoom, withinMs: AT_ONCE_MS } } },
  },
  'TURN password of a room': {
    why: 'livekit-server sends it to every caller that may list rooms. The engine has no TURN server, and so no password.',
    cases: { 'in the response': { livekit: ok(room({ turn_password: /^[0-9A-Za-z]{40,}$/ })), engine: ok(room({ turn_password: '' })) } },
  },
  'message nested deeper than 128 levels': {
    why: 'livekit-server accepts 10,000 levels. No message of the protocol has more than 5.',
    cases: { rejected: { livekit: ok(room({})), engine: malformedJson } },
  },
  'protobuf field of the wrong type': {
    why: 'livekit-server treats it as an unknown field. No encoder writes one, so the engine treats the message as damaged.',
    cases: { rejected: { livekit: ok({ participants: [] }), engine: malformedProtobuf } },
  },
  'unknown enum value': {
    why: 'livekit-server drops it: a list of sources with only misspelt names becomes empty, which allows all sources. The engine rejects it.',
    cases: { rejected: { livekit: ok({}), engine: malformedJson } },
  },
  'path that is not clean': {
    why: 'livekit-server redirects, as Go does. Many clients repeat a redirected POST as a GET.',
    cases: {
      'missing slash': { livekit: empty(307, { location: '/twirp/livekit.RoomService/' }), engine: notFound },
      'double slash': { livekit: empty(307, { location: '/twirp/livekit.RoomService/ListRooms' }), engine: notFound },
    },
  },
  'unsupported service': {
    why: 'Recording, ingress, telephony and agents need servers or workers of their own. The engine rejects these calls at once, with any token.',
    cases: {
      'known to livekit-server': { livekit: denied, engine: unimplemented },
      'unknown to livekit-server': { livekit: notFound, engine: unimplemented },
    },
  },
  'room with an unsupported feature': {
    why: 'livekit-server accepts agents without a worker, and a playout delay; egress fails there without a recorder. The engine supports none of them, and rejects the request instead of creating a room without them.',
    cases: {
      'created with agents': createdWith('agents'),
      'created with a playout delay': createdWith('a playout delay'),
      'created with synchronized streams': createdWith('synchronized streams'),
      'joined with agents': joinedWith('agents'),
      'joined with a playout delay': joinedWith('a playout delay'),
    },
  },
  'join that livekit-server rejects later': {
    why: 'livekit-server responds "success", and then closes the connection without a reason. The engine checks first, so that the user sees the reason.',
    cases: {
      preset: { livekit: validated, engine: text(403, 'unknown room configuration in create room request') },
      metadata: { livekit: validated, engine: text(403, 'metadata size exceeds limits 524288') },
      attributes: { livekit: validated, engine: text(403, 'attribute size exceeds limits 65536') },
    },
  },
  'large body without a permission': {
    why: 'livekit-server reads and decodes large bodies without a token, too. The engine stops at 64 KiB, because its memory is the application\'s.',
    cases: { 'rejected before it is read': { livekit: invalid('metadata size exceeds limits', '524288'), engine: denied } },
  },
  'long participant name in a token': {
    why: 'livekit-server limits the name to 256 bytes in an update, but not in a token. The engine limits both, because every participant of the room receives it.',
    cases: { rejected: { livekit: validated, engine: text(403, 'name length exceeds limits 256') } },
  },
  'Server header': {
    why: 'The engine names itself, so that it is not mistaken for livekit-server.',
    cases: {
      'in the response': {
        livekit: text(200, 'OK', { server: undefined }),
        engine: text(200, 'OK', { server: /^maravilla-media\/\d+\.\d+\.\d+/ }),
      },
    },
  },
};

/**
 * Deviations that participants see: values of any type, which the tests in sessions/ and browsers/ name.
 * @type {Record<string, { why: string, cases: Record<string, { livekit: any, engine: any }> }>}
 */
const sessionDeviations = {
  'server version': {
    why: 'Clients rely on the version: after 1.13.6 they send VP9 and AV1 as simulcast, and from protocol 18 they use data channels with fixed ids.',
    cases: {
      reported: { livekit: { version: '1.13.11', protocol: 18 }, engine: { version: '1.13.5', protocol: 17 } },
    },
  },
  'full room': {
    why: 'livekit-server accepts the token, and then closes the connection without a reason that a client could show.',
    cases: {
      rejection: {
        livekit: { upgrade: text(500, 'connection closed by media'), validate: validated },
        engine: {
          upgrade: text(403, 'room has exceeded its max participants'),
          validate: text(403, 'room has exceeded its max participants'),
        },
      },
    },
  },
  'participant that leaves during an RPC': {
    why: 'The status of livekit-server depends on what it notices first. The engine always reports the participant as gone.',
    cases: { 'possible statuses': { livekit: [404, 408, 503], engine: [503] } },
  },
  'participant that leaves while another one resumes': {
    why: 'livekit-server sends a resumed participant only those in the room. The engine also sends those that left meanwhile, because that update may be lost.',
    cases: {
      'possible states in the update': { livekit: [undefined, 3], engine: [3] },
      // On livekit-server it depends on timing, so there is nothing to assert.
      'still listed': { livekit: undefined, engine: false },
    },
  },
  'participant that rejoins hidden': {
    why: 'livekit-server sends no update for the visible participant of that identity that has left. The engine does.',
    cases: { 'still listed': { livekit: true, engine: false } },
  },
  'repeated publishing': {
    why: 'A browser adds a media section for each track that it publishes. The engine rejects sections that are no longer used, so that browsers recycle them.',
    cases: { 'maximum sections': { livekit: 70, engine: 20 } },
  },
  'connection without packets': {
    why: 'livekit-server checks every five seconds, and reports a track as lost after two intervals without packets. The engine checks five times a second.',
    cases: { 'reported within ms': { livekit: 24_000, engine: 11_000 } },
  },
  'participant count': {
    why: 'livekit-server counts every few seconds. The engine counts on each join and leave.',
    cases: { 'updated within ms': { livekit: 12_000, engine: 2_000 } },
  },
};

/** @param {string} deviation @param {string} which @param {Kind} kind */
function expectedInSession(deviation, which, kind) {
  const found = sessionDeviations[deviation]?.cases[which];
  if (found === undefined) throw new Error(`no session deviation is called ${deviation}: ${which}`);
  return found[kind];
}

/** @param {string} deviation @param {string} which @returns {Deviating} */
function deviates(deviation, which) {
  if (deviations[deviation]?.cases[which] === undefined) throw new Error(`no deviation is called ${deviation}: ${which}`);
  return { deviation, which };
}

/** The response expected from a server of that kind. @param {Response | Deviating} expected @param {Kind} kind @returns {Response} */
const expectedOf = (expected, kind) => ('deviation' in expected ? deviations[expected.deviation].cases[expected.which][kind] : expected);

module.exports = { deviates, deviations, expectedInSession, expectedOf, sessionDeviations };
