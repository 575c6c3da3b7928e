// Runs on the Node.js of each target, with the embedded engine, and prints results as JSON.
import { createPlatform } from '@maravilla-labs/platform';

const platform = createPlatform({ provider: 'embedded', apiKey: process.env.TEST_KEY, apiSecret: process.env.TEST_SECRET });
const { media } = platform;
const room = await media.createRoom('tea', { maxParticipants: 7 });
const rooms = await media.listRooms();
const { url, token } = await media.generateToken('tea', { identity: 'ann', name: 'Ann' });
const engine = url.replace('ws', 'http');
const status = async (sent) => (await fetch(`${engine}/rtc/validate?access_token=${sent}`)).status;
const accepted = await status(token);
const rejected = await status(token.slice(0, -4));
await platform.close();
const { arch, versions } = process;
console.log(JSON.stringify({ arch, node: versions.node, room: room.name, rooms: rooms.map(({ name, maxParticipants }) => [name, maxParticipants]), token, accepted, rejected }));
