// npm start: rooms on a real LiveKit server, joined by a real LiveKit client, told step by step.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import server from './livekit-server.js';
import { ensureAddon, ensureNodeModules, ensureServers } from './setup.mjs';
import { report } from './shell.mjs';

const ROOM = 'huddle:demo';
const SETTINGS = { maxParticipants: 8, emptyTimeoutSecs: 60 };

async function scene({ media, Client, DisconnectReason }) {
  step('create a room');
  const room = await media.createRoom(ROOM, SETTINGS);
  show(`${room.name}: at most ${room.maxParticipants} participants, created ${new Date(room.createdAt).toISOString()}`);

  step('mint a token for Alice');
  const minted = await media.generateToken(ROOM, { identity: 'alice', name: 'Alice', ttlSecs: 600, roomSettings: SETTINGS });
  show(`good until ${new Date(minted.expiresAt).toISOString()}, for ${minted.url}`);
  for (const [claim, value] of Object.entries(claimsOf(minted.token))) show(`${claim}: ${JSON.stringify(value)}`);

  step('a LiveKit client joins with it');
  const first = await join(Client, minted);
  show(`joined ${first.name} as ${first.localParticipant.identity}`);

  step('list the room and its participant');
  await showRooms(media);
  for (const { identity, name, state, canPublish } of await media.listParticipants(ROOM)) {
    show(`participant ${identity} (${name}): ${state}, ${canPublish ? 'may' : 'may not'} publish`);
  }

  step('remove the participant');
  const removed = disconnection(first);
  await media.removeParticipant(ROOM, 'alice');
  show(`the client was disconnected: ${DisconnectReason[await removed]}`);

  step('join again: the token still stands');
  const second = await join(Client, minted);
  show(`joined ${second.name} as ${second.localParticipant.identity}`);

  step('tear the room down');
  const closed = disconnection(second);
  await media.deleteRoom(ROOM);
  show(`the client was disconnected: ${DisconnectReason[await closed]}`);

  step('list the rooms again');
  await showRooms(media);
}

async function join(Client, { url, token }) {
  const client = new Client();
  await client.connect(url, token, { autoSubscribe: true, dynacast: false });
  return client;
}

async function disconnection(client) {
  const [reason] = await once(client, 'disconnected', { signal: AbortSignal.timeout(10_000) });
  return reason;
}

async function showRooms(media) {
  const rooms = await media.listRooms();
  for (const { name, active, maxParticipants } of rooms) show(`room ${name}: ${active ? 'open' : 'closed'}, at most ${maxParticipants}`);
  if (rooms.length === 0) show('no rooms');
}

/** What the token says; its signature, and so the token, is never shown. */
function claimsOf(token) {
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
}

let steps = 0;
function step(title) {
  steps += 1;
  console.log(`\n${steps}. ${title}`);
}

function show(text) {
  console.log(`   ${text}`);
}

try {
  await ensureNodeModules();
  await ensureServers();
  await ensureAddon();
  // LiveKit's client writes its own log lines unless it runs in production.
  process.env.NODE_ENV ??= 'production';
  const require = createRequire(import.meta.url);
  const { createPlatform } = require('../index.js');
  const { DisconnectReason, Room: Client, dispose } = require('@livekit/rtc-node');

  const livekit = await server.startServer();
  console.log(`A livekit-server ${server.LIVEKIT_VERSION} runs on ${livekit.url}`);
  const { url, apiKey, apiSecret } = livekit;
  const platform = createPlatform({ provider: 'livekit', url, apiKey, apiSecret });
  try {
    await scene({ media: platform.media, Client, DisconnectReason });
  } finally {
    await platform.close();
    await dispose();
    await livekit.stop();
  }
  console.log('\nDone: the server is stopped.');
} catch (error) {
  process.exitCode = report(error);
}
