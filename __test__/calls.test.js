'use strict';

// Requests that methods send, and results that they return for the responses of a server.

require('./support/environment.js');
const { FaultServer, inTurn, livekit, participantOf, protobuf, reset, roomOf, twirp } = require('./support/fault-server.js');
const { apiKey, apiSecret, mediaAt, roomCalls, rpcOf } = require('./support/media.js');
const { readToken } = require('./support/token.js');

/** @type {FaultServer} */
let server;
beforeAll(async () => {
  server = await FaultServer.start();
});
afterAll(() => server.close());

/** The result of a call to which the server responds with that message. */
async function resultFor(message, call, options) {
  const healthy = server.respond;
  server.respond = inTurn(protobuf(message), healthy);
  try {
    return await call(mediaAt(server.url, options));
  } finally {
    server.respond = healthy;
  }
}

/** The request that a call sends. */
async function requestOf(call, options) {
  await call(mediaAt(server.url, options));
  return server.requests.at(-1);
}

describe('a request', () => {
  const grants = {
    createRoom: { roomCreate: true },
    deleteRoom: { roomCreate: true },
    listRooms: { roomList: true },
    listParticipants: { roomAdmin: true, room: 'app:room' },
    getRoom: { roomList: true },
    updateRoom: { roomAdmin: true, room: 'app:room' },
    getParticipant: { roomAdmin: true, room: 'app:room' },
    updateParticipant: { roomAdmin: true, room: 'app:room' },
    muteParticipant: { roomAdmin: true, room: 'app:room' },
    sendData: { roomAdmin: true, room: 'app:room' },
    removeParticipant: { roomAdmin: true, room: 'app:room' },
  };

  test.each(Object.entries(roomCalls))('has a token of one minute with only the required grant: %s', async (method, call) => {
    const before = Math.floor(Date.now() / 1000);
    const { headers } = await requestOf(call, { roomPrefix: 'app:' });
    const [scheme, token] = headers.authorization.split(' ');
    expect(scheme).toBe('Bearer');
    const { claims } = readToken(token, apiSecret);
    expect(claims.iss).toBe(apiKey);
    expect(claims.video).toEqual(grants[method]);
    expect(claims.exp - claims.nbf).toBe(60);
    expect(claims.nbf).toBeGreaterThanOrEqual(before);
    expect(claims.sub || undefined).toBeUndefined();
  });

  test.each(Object.entries(roomCalls))('is a Twirp request in protobuf: %s', async (method, call) => {
    const { line, headers } = await requestOf(call);
    expect(line).toBe(`POST /twirp/livekit.RoomService/${rpcOf(method)} HTTP/1.1`);
    expect(headers['content-type']).toBe('application/protobuf');
    expect(headers['x-livekit-request-id']).toMatch(/^\S{8,}$/);
    expect(headers.host).toBe(`127.0.0.1:${server.port}`);
    expect(headers).not.toHaveProperty('referer');
    expect(headers).not.toHaveProperty('cookie');
  });

  test.each(Object.keys(roomCalls).filter((method) => !['createRoom', 'listRooms', 'getRoom'].includes(method)))('has the room name with the prefix: %s', async (method) => {
    expect((await requestOf(roomCalls[method], { roomPrefix: 'app:' })).message.room).toBe('app:room');
  });

  test('of removeParticipant has room and identity', async () => {
    expect((await requestOf(roomCalls.removeParticipant)).message).toMatchObject({ room: 'room', identity: 'ann' });
  });

  test('of getRoom has the name with the prefix', async () => {
    expect((await requestOf(roomCalls.getRoom, { roomPrefix: 'app:' })).message.names).toEqual(['app:room']);
  });

  test('of listRooms has no names', async () => {
    expect((await requestOf(roomCalls.listRooms, { roomPrefix: 'app:' })).message.names).toEqual([]);
  });
});

describe('createRoom', () => {
  test.each([
    [undefined, {}],
    [{}, {}],
    [{ emptyTimeoutSecs: 60 }, { emptyTimeout: 60, departureTimeout: 60 }],
    [{ emptyTimeoutSecs: 60, departureTimeoutSecs: 5 }, { emptyTimeout: 60, departureTimeout: 5 }],
    [{ emptyTimeoutSecs: 60, departureTimeoutSecs: 0 }, { emptyTimeout: 60 }],
    [{ departureTimeoutSecs: 5 }, { departureTimeout: 5 }],
    [{ maxParticipants: 12, metadata: '😀' }, { maxParticipants: 12, metadata: '😀' }],
  ])('sends the settings %j in LiveKit’s fields', async (settings, expected) => {
    const { message } = await requestOf((media) => media.createRoom('room', settings));
    expect(message.equals(new livekit.CreateRoomRequest({ name: 'room', ...expected }))).toBe(true);
  });

  test('returns the room without the prefix and without secrets of the server', async () => {
    const room = await resultFor(
      new livekit.Room({ ...roomOf('app:room', { maxParticipants: 12 }), numParticipants: 3 }),
      (media) => media.createRoom('room'),
      { roomPrefix: 'app:' },
    );
    expect(room).toEqual({ name: 'room', numParticipants: 3, maxParticipants: 12, createdAt: 1_700_000_000_123, active: true });
  });

  test('reads a creation time in seconds', async () => {
    const room = await resultFor(new livekit.Room({ ...roomOf('room'), creationTimeMs: 0n }), (media) => media.createRoom('room'));
    expect(room.createdAt).toBe(1_700_000_000_000);
  });
});

describe('listRooms', () => {
  const list = (...names) => new livekit.ListRoomsResponse({ rooms: names.map((name) => roomOf(name)) });

  test('returns rooms sorted by name in UTF-16 code unit order', async () => {
    const names = ['b', 'a10', 'a2', 'é', 'Z', '😀', '\uffee', 'a'];
    const rooms = await resultFor(list(...names), (media) => media.listRooms());
    expect(rooms.map(({ name }) => name)).toEqual([...names].sort());
  });

  test('returns only rooms with the prefix, without it', async () => {
    const rooms = await resultFor(list('t1:b', 't10:x', 't2:y', 't1:a', 'z', 't1:t1:c'), (media) => media.listRooms(), { roomPrefix: 't1:' });
    expect(rooms.map(({ name }) => name)).toEqual(['a', 'b', 't1:c']);
  });

  test('returns plain objects', async () => {
    const rooms = await resultFor(list('a'), (media) => media.listRooms());
    expect(rooms).toEqual([{ name: 'a', numParticipants: 0, maxParticipants: 0, createdAt: 1_700_000_000_123, active: true }]);
    expect(structuredClone(rooms)).toEqual(JSON.parse(JSON.stringify(rooms)));
    expect(JSON.stringify(rooms)).not.toContain('turn-password');
  });

  test('returns 10,000 rooms', async () => {
    const rooms = await resultFor(list(...Array.from({ length: 10_000 }, (_, i) => `room ${i}`)), (media) => media.listRooms());
    expect(rooms).toHaveLength(10_000);
    expect(new Set(rooms.map(({ name }) => name)).size).toBe(10_000);
  });
});

describe('listParticipants', () => {
  const { ParticipantInfo, ParticipantInfo_State: State, ParticipantPermission, TrackInfo, TrackSource, TrackType, ListParticipantsResponse } = livekit;
  const list = (...participants) => new ListParticipantsResponse({ participants: participants.map((each) => new ParticipantInfo(each)) });
  const give = (...participants) => resultFor(list(...participants), (media) => media.listParticipants('room'));

  test('returns participants as documented', async () => {
    const participants = await give({
      sid: 'PA_1',
      identity: 'ann',
      name: 'Ann',
      state: State.ACTIVE,
      joinedAt: 1_700_000_000n,
      joinedAtMs: 1_700_000_000_456n,
      metadata: '{}',
      attributes: { b: '2', a: '1' },
      permission: new ParticipantPermission({ canPublish: true, canSubscribe: false, canPublishData: true }),
      tracks: [new TrackInfo({ sid: 'TR_1', type: TrackType.VIDEO, source: TrackSource.CAMERA, muted: true })],
    });
    expect(participants).toEqual([
      {
        identity: 'ann',
        name: 'Ann',
        state: 'active',
        joinedAt: 1_700_000_000_456,
        metadata: '{}',
        attributes: { a: '1', b: '2' },
        canPublish: true,
        canSubscribe: false,
        canPublishData: true,
        tracks: [{ sid: 'TR_1', source: 'camera', kind: 'video', muted: true }],
      },
    ]);
    expect(structuredClone(participants)).toEqual(JSON.parse(JSON.stringify(participants)));
  });

  test('sorts by identity', async () => {
    const participants = await give({ identity: 'b' }, { identity: 'a10' }, { identity: 'a2' }, { identity: '😀' }, { identity: '\uffee' });
    expect(participants.map(({ identity }) => identity)).toEqual(['a10', 'a2', 'b', '😀', '\uffee'].sort());
  });

  test('maps every state, source and kind', async () => {
    const states = [State.JOINING, State.JOINED, State.ACTIVE, State.DISCONNECTED];
    const sources = [TrackSource.UNKNOWN, TrackSource.CAMERA, TrackSource.MICROPHONE, TrackSource.SCREEN_SHARE, TrackSource.SCREEN_SHARE_AUDIO];
    const kinds = [TrackType.AUDIO, TrackType.VIDEO, TrackType.DATA];
    const participants = await give(...states.map((state, i) => ({ identity: `${i}`, state })));
    expect(participants.map(({ state }) => state)).toEqual(['joining', 'joined', 'active', 'disconnected']);
    const [{ tracks }] = await give({ identity: 'ann', tracks: [...sources.map((source) => new TrackInfo({ source })), ...kinds.map((type) => new TrackInfo({ type }))] });
    expect(tracks.slice(0, 5).map(({ source }) => source)).toEqual(['unknown', 'camera', 'microphone', 'screen_share', 'screen_share_audio']);
    expect(tracks.slice(5).map(({ kind }) => kind)).toEqual(['audio', 'video', 'data']);
  });

  test('maps unknown values of newer servers to documented ones', async () => {
    const [participant] = await give({ identity: 'ann', state: 99, tracks: [new TrackInfo({ source: 99, type: 99 })] });
    expect(['joining', 'joined', 'active', 'disconnected']).toContain(participant.state);
    expect(['camera', 'microphone', 'screen_share', 'screen_share_audio', 'unknown']).toContain(participant.tracks[0].source);
    expect(['audio', 'video', 'data']).toContain(participant.tracks[0].kind);
  });

  test('reads a participant without permissions or attributes', async () => {
    const [participant] = await give({ identity: 'ann', joinedAt: 5n });
    expect(participant).toMatchObject({ joinedAt: 5000, attributes: {}, tracks: [], metadata: '', canPublish: false, canSubscribe: false, canPublishData: false });
  });
});

describe('updateParticipant', () => {
  const { ParticipantPermission, TrackSource, UpdateParticipantRequest } = livekit;
  const granted = new ParticipantPermission({
    canPublish: true,
    canSubscribe: true,
    canPublishData: true,
    canPublishSources: [TrackSource.CAMERA],
    canUpdateMetadata: true,
    canSubscribeMetrics: true,
    canManageAgentSession: true,
    recorder: true,
  });

  /** The requests of a call on a participant with those permissions. */
  async function requestsOf(change) {
    server.requests.length = 0;
    const healthy = server.respond;
    server.respond = inTurn(protobuf(participantOf('ann', { permission: granted })), healthy);
    try {
      await mediaAt(server.url).updateParticipant('room', 'ann', change);
    } finally {
      server.respond = healthy;
    }
    return server.requests.map(({ method, message }) => [method, message]);
  }

  test('without permissions sends one request with only the changes', async () => {
    const [[method, message], ...more] = await requestsOf({ name: 'Anna', metadata: null, attributes: { a: '1', b: null, c: '' } });
    expect([method, more]).toEqual(['UpdateParticipant', []]);
    expect(message.equals(new UpdateParticipantRequest({ room: 'room', identity: 'ann', name: 'Anna', attributes: { a: '1', b: '', c: '' } }))).toBe(true);
  });

  test('with a permission reads the others, and sends all', async () => {
    const [[first], [second, message]] = await requestsOf({ canSubscribe: false, hidden: true });
    expect([first, second]).toEqual(['GetParticipant', 'UpdateParticipant']);
    const permission = new ParticipantPermission({ ...granted, canSubscribe: false, hidden: true });
    expect(message.equals(new UpdateParticipantRequest({ room: 'room', identity: 'ann', permission }))).toBe(true);
  });

  test('replaces the sources that may be published', async () => {
    const [, [, message]] = await requestsOf({ canPublishSources: ['microphone', 'screen_share_audio'] });
    expect(message.permission.canPublishSources).toEqual([TrackSource.MICROPHONE, TrackSource.SCREEN_SHARE_AUDIO]);
  });
});

describe('muteParticipant', () => {
  const { TrackInfo, TrackSource } = livekit;
  const tracks = [
    new TrackInfo({ sid: 'TR_1', source: TrackSource.CAMERA }),
    new TrackInfo({ sid: 'TR_2', source: TrackSource.MICROPHONE, muted: true }),
    new TrackInfo({ sid: 'TR_3', source: TrackSource.MICROPHONE }),
    new TrackInfo({ sid: 'TR_4', source: TrackSource.UNKNOWN }),
  ];

  test.each([
    [undefined, ['TR_1', 'TR_3', 'TR_4']],
    [['microphone'], ['TR_3']],
    [['screen_share'], []],
  ])('with the sources %j mutes only their tracks that are not muted', async (sources, expected) => {
    const muted = await resultFor(participantOf('ann', { tracks }), (media) => media.muteParticipant('room', 'ann', { sources }));
    expect(muted.map(({ sid, muted: isMuted }) => [sid, isMuted])).toEqual(expected.map((sid) => [sid, true]));
  });

  test('leaves a track out that has ended meanwhile', async () => {
    const healthy = server.respond;
    server.respond = inTurn(protobuf(participantOf('ann', { tracks })), protobuf(new livekit.MuteRoomTrackResponse()), healthy);
    try {
      expect((await mediaAt(server.url).muteParticipant('room', 'ann')).map(({ sid }) => sid)).toEqual(['TR_3', 'TR_4']);
    } finally {
      server.respond = healthy;
    }
  });
});

describe('sendData', () => {
  const { DataPacket_Kind: Kind } = livekit;

  test.each([
    ['hello 😀', {}, { kind: Kind.RELIABLE, destinationIdentities: [] }],
    [new Uint8Array([0, 128, 255]), { reliable: false, to: ['ann', 'bob'], topic: '' }, { kind: Kind.LOSSY, destinationIdentities: ['ann', 'bob'], topic: '' }],
    [Buffer.from('part of a buffer').subarray(5), { topic: 'chat' }, { kind: Kind.RELIABLE, destinationIdentities: [], topic: 'chat' }],
  ])('sends %j with %j', async (data, options, expected) => {
    const { message } = await requestOf((media) => media.sendData('room', data, options), { roomPrefix: 'app:' });
    expect(message).toMatchObject({ room: 'app:room', ...expected });
    expect(Buffer.from(message.data)).toEqual(Buffer.from(data));
  });

  test('has a nonce of its own in each call, which its retry repeats', async () => {
    server.requests.length = 0;
    const healthy = server.respond;
    server.respond = inTurn(reset, healthy);
    try {
      for (let call = 0; call < 2; call += 1) await mediaAt(server.url).sendData('room', 'hello');
    } finally {
      server.respond = healthy;
    }
    const nonces = server.requests.map(({ message }) => Buffer.from(message.nonce).toString('hex'));
    expect(nonces).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), nonces[0], expect.not.stringMatching(nonces[0])]);
  });

  test('of a room without a node is ROOM_NOT_FOUND if the room does not exist', async () => {
    const healthy = server.respond;
    const call = () => mediaAt(server.url).sendData('room', 'hello').catch(({ code }) => code);
    try {
      server.respond = inTurn(twirp(503, 'unavailable'), protobuf(new livekit.ListRoomsResponse()));
      expect(await call()).toBe('ROOM_NOT_FOUND');
      server.respond = inTurn(twirp(503, 'unavailable'), protobuf(new livekit.ListRoomsResponse({ rooms: [roomOf('room')] })));
      expect(await call()).toBe('UNAVAILABLE');
    } finally {
      server.respond = healthy;
    }
  });
});

describe('removeParticipant', () => {
  test('with revokeTokens revokes the tokens of this second, and otherwise none', async () => {
    const now = Math.floor(Date.now() / 1000);
    const timestampOf = async (options) => Number((await requestOf((media) => media.removeParticipant('room', 'ann', options))).message.revokeTokenTs);
    // LiveKit Cloud takes a minute from now for 0.
    for (const options of [undefined, {}, { revokeTokens: false }]) expect(await timestampOf(options)).toBe(1);
    const revoking = await timestampOf({ revokeTokens: true });
    expect(revoking).toBeGreaterThan(now);
    expect(revoking).toBeLessThanOrEqual(Math.floor(Date.now() / 1000) + 1);
  });
});
