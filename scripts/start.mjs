// npm start: rooms without a server, then the same on a real LiveKit server with a real client, told step by step.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import server from './livekit-server.js';
import { ensureAddon, ensureNodeModules, ensureServers } from './setup.mjs';
import { report } from './shell.mjs';

const ROOM = 'huddle:demo';
const SETTINGS = { maxParticipants: 8, emptyTimeoutSecs: 60 };
const ALICE = { identity: 'alice', name: 'Alice', ttlSecs: 600, roomSettings: SETTINGS };
const require = createRequire(import.meta.url);

async function withoutServer({ media }) {
  await createRoom(media);

  step('mint a token for Alice');
  const minted = await media.generateToken(ROOM, ALICE);
  show(`good until ${new Date(minted.expiresAt).toISOString()}, for ${minted.url}`);
  for (const [claim, value] of Object.entries(claimsOf(minted.token))) show(`${claim}: ${JSON.stringify(value)}`);

  step('ask the engine whether the token opens the room');
  await showValidation(minted);
  show('joining itself comes next: this version has rooms, tokens and the server API');

  step('list the rooms');
  await showRooms(media);

  step('delete the room: its tokens are revoked');
  await media.deleteRoom(ROOM);
  await showValidation(minted);

  step('create it anew and mint another: the new token opens it, the old one still does not');
  await media.createRoom(ROOM, SETTINGS);
  await showValidation(await media.generateToken(ROOM, ALICE));
  await showValidation(minted);
}

async function onServer({ media }, { Room: Client, DisconnectReason }) {
  await createRoom(media);

  step('a LiveKit client joins with a token');
  const minted = await media.generateToken(ROOM, ALICE);
  const first = await join(Client, minted);
  show(`joined ${first.name} as ${first.localParticipant.identity}`);

  step('list the room and its participant');
  await showRooms(media);
  for (const { identity, name, state, canPublish } of await media.listParticipants(ROOM)) {
    show(`participant ${identity} (${name}): ${state}, ${canPublish ? 'may' : 'may not'} publish`);
  }

  step('remove the participant');
  const removed = disconnection(first);
  await media.removeParticipant(ROOM, ALICE.identity);
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

async function createRoom(media) {
  step('create a room');
  const room = await media.createRoom(ROOM, SETTINGS);
  show(`${room.name}: at most ${room.maxParticipants} participants, created ${new Date(room.createdAt).toISOString()}`);
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

/** Asks as a browser's client does where it could not connect. */
async function showValidation({ url, token }) {
  const { status } = await fetch(`${url.replace('ws', 'http')}/rtc/validate?access_token=${token}`);
  show(`GET /rtc/validate with the token: ${status}, ${status === 200 ? 'it opens the room' : 'it opens nothing'}`);
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

async function tellEmbedded({ createPlatform }) {
  const platform = createPlatform({ provider: 'embedded' });
  try {
    console.log(`Rooms in this very process, on ${await platform.media.mediaUrl()}`);
    await withoutServer(platform);
  } finally {
    await platform.close();
  }
  console.log('\nThe engine is closed, its port free.');
}

async function tellLiveKit({ createPlatform }) {
  // LiveKit's client writes its own log lines unless it runs in production.
  process.env.NODE_ENV ??= 'production';
  const client = require('@livekit/rtc-node');
  const { url, apiKey, apiSecret, stop } = await server.startServer();
  console.log(`\nThe same code, on a livekit-server ${server.LIVEKIT_VERSION}: ${url}`);
  const platform = createPlatform({ provider: 'livekit', url, apiKey, apiSecret });
  try {
    await onServer(platform, client);
  } finally {
    await platform.close();
    await client.dispose();
    await stop();
  }
  console.log('\nDone: the server is stopped.');
}

try {
  await ensureNodeModules();
  await ensureAddon();
  await ensureServers();
  const platform = require('../index.js');
  await tellEmbedded(platform);
  await tellLiveKit(platform);
} catch (error) {
  process.exitCode = report(error);
}
