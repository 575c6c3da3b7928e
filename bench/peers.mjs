// The same operations by this package, by LiveKit's server SDK, and by hand-written code.
import { createHmac } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';

const SIX_HOURS = 21_600;
const SETTINGS = { maxParticipants: 12, emptyTimeoutSecs: 300 };

/** Each returns `{ token, create, remove, list }` for a server. Implementations are imported on demand. */
export const peers = {
  ours: ({ url, apiKey, apiSecret }) => platform({ url, apiKey, apiSecret }),

  /** This package, with an embedded engine. */
  embedded: () => platform({ provider: 'embedded' }),

  none: async () => ({}),

  async sdk({ url, apiUrl, apiKey, apiSecret }) {
    const { AccessToken, RoomServiceClient } = await import('livekit-server-sdk');
    const rooms = new RoomServiceClient(apiUrl, apiKey, apiSecret);
    return {
      async token(room, { identity, name, ...permissions }) {
        const token = new AccessToken(apiKey, apiSecret, { identity, name, ttl: SIX_HOURS });
        token.addGrant({ roomJoin: true, room, ...permissions });
        return { token: await token.toJwt(), url };
      },
      create: (name) => rooms.createRoom({ name, maxParticipants: 12, emptyTimeout: 300, departureTimeout: 300 }),
      remove: (room) => rooms.deleteRoom(room),
      list: () => rooms.listRooms(),
    };
  },

  async hand({ url, apiUrl, apiKey, apiSecret }) {
    return {
      ...roomCalls(rawTwirp(apiUrl, adminToken(apiKey, apiSecret))),
      async token(room, { identity, name, ...permissions }) {
        const at = Math.floor(Date.now() / 1000);
        const claims = { iss: apiKey, sub: identity, name, nbf: at, exp: at + SIX_HOURS, video: { roomJoin: true, room, ...permissions } };
        return { token: sign(claims, apiSecret), url };
      },
    };
  },

  /** A client with minimal overhead, to measure the server. */
  sockets: async ({ apiUrl, apiKey, apiSecret }) => roomCalls(socketTwirp(apiUrl, adminToken(apiKey, apiSecret))),
};

/** Room calls through `post`. Bodies are encoded once. */
function roomCalls(post) {
  const [creations, removals] = [new Map(), new Map()];
  const ready = (bodies, room, encode) => bodies.get(room) ?? bodies.set(room, encode(room)).get(room);
  return {
    create: (room) => post('CreateRoom', ready(creations, room, createBody)),
    remove: (room) => post('DeleteRoom', ready(removals, room, (name) => field(1, name))),
  };
}

function adminToken(apiKey, apiSecret) {
  const now = Math.floor(Date.now() / 1000);
  return sign({ iss: apiKey, nbf: now, exp: now + SIX_HOURS, video: { roomCreate: true } }, apiSecret);
}

async function platform(options) {
  const { createPlatform } = (await import('../index.js')).default;
  const { media } = createPlatform(options);
  return {
    token: (room, participant) => media.generateToken(room, participant),
    create: (room) => media.createRoom(room, SETTINGS),
    remove: (room) => media.deleteRoom(room),
    list: () => media.listRooms(),
  };
}

const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url');

function sign(claims, secret) {
  const text = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

function field(number, text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/** `CreateRoomRequest` with the same settings: empty_timeout 2, max_participants 3, departure_timeout 10. */
function createBody(room) {
  return Buffer.concat([field(1, room), Buffer.from([2 << 3, 0xac, 0x02, 3 << 3, 12, 10 << 3, 0xac, 0x02])]);
}

/** Writes prepared requests to open sockets, so that the client takes almost no time. */
function socketTwirp(apiUrl, token) {
  const { hostname, port } = new URL(apiUrl);
  const idle = [];
  const head = (method, body) =>
    `POST /twirp/livekit.RoomService/${method} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${token}\r\n` +
    `content-type: application/protobuf\r\ncontent-length: ${body.length}\r\n\r\n`;
  return (method, body) =>
    new Promise((resolve, reject) => {
      const socket = idle.pop() ?? net.connect({ host: hostname, port, noDelay: true });
      let response = '';
      const read = (part) => {
        response += part.toString('latin1');
        const end = response.indexOf('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(response)?.[1]);
        if (end < 0 || response.length < end + 4 + length) return;
        socket.off('data', read).off('error', reject);
        idle.push(socket);
        if (response.startsWith('HTTP/1.1 200')) resolve();
        else reject(new Error(`${method} answered ${response.slice(0, 12)}`));
      };
      socket.on('data', read).on('error', reject);
      socket.write(Buffer.concat([Buffer.from(head(method, body)), body]));
    });
}

/** A keep-alive request with prepared body and token: the minimum for any client in Node.js. */
function rawTwirp(apiUrl, token) {
  const agent = new http.Agent({ keepAlive: true });
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/protobuf' };
  return (method, body) =>
    new Promise((resolve, reject) => {
      const options = { method: 'POST', agent, headers: { ...headers, 'content-length': body.length } };
      const request = http.request(`${apiUrl}/twirp/livekit.RoomService/${method}`, options, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks));
          else reject(new Error(`${method} answered ${response.statusCode}`));
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
}
