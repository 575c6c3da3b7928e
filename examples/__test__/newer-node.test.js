'use strict';

// The packed package on newer Node.js versions, and the apps on the frameworks' current majors. All their other tests run there in
// `npm run test:matrix`.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { folderOf, startExample } = require('../../test-support/example-server.js');
const { Guest, claimsOf } = require('./support/guest.js');
const { SESSION_SECRET, openBrowsers, providers, setHouse } = require('./support/house.js');

const run = promisify(execFile);
/** Everything is installed and built, the first time. */
const READY_MS = 300_000;
const STORY_MS = 120_000;

const USE = `
  import { createPlatform, getPlatform } from '@maravilla-labs/platform';
  const platform = createPlatform({ provider: 'embedded' });
  const room = await platform.media.createRoom('r', { maxParticipants: 2 });
  const { token, url } = await platform.media.generateToken('r', { identity: 'ann', name: 'Ann' });
  const { status } = await fetch(url.replace('ws', 'http') + '/rtc/validate?access_token=' + token);
  await platform.close();
  console.log(JSON.stringify({ node: process.versions.node.split('.')[0], room: room.name, status, media: typeof getPlatform().media }));
`;

/** @type {{ nodes: Record<string, string>, node: string, apps: Record<string, { folder: string, port: number }> }} */
let newer;

beforeAll(async () => {
  const { stdout } = await run(process.execPath, [path.join(__dirname, '../../test-support/newer-node.mjs')]);
  newer = JSON.parse(stdout.trim().split('\n').at(-1));
}, READY_MS);

it.each(['22', '24'])('the packed package runs on Node %s', async (major) => {
  const { stdout } = await run(newer.nodes[major], ['--input-type=module', '--eval', USE], { cwd: folderOf('react-router') });
  expect(JSON.parse(stdout)).toEqual({ node: major, room: 'r', status: 200, media: 'undefined' });
});

describe.each(/** @type {const} */ (['react-router', 'sveltekit']))('%s on its current major, on Node 24', (name) => {
  const browsers = openBrowsers(['chromium']);
  const house = setHouse(browsers, async () => {
    const { env } = await providers['the embedded engine']();
    const app = await startExample(name, { env: { SESSION_SECRET, ...env }, ...newer.apps[name], node: newer.node });
    return { app };
  });

  it('a session gets a token, and none gets none', async () => {
    const { url } = house.app();
    const ann = new Guest(url);
    expect((await ann.gets('/')).status).toBe(200);
    expect((await ann.posts('/api/huddles/any/join')).status).toBe(401);
    await ann.signsIn('Ann');
    const { token } = await (await ann.posts('/api/huddles/any/join')).json();
    expect(claimsOf(token)).toMatchObject({ name: 'Ann', video: { room: 'huddle:any' } });
  });

  it('two are in a call', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.visitor('Ann'), house.visitor('Ben')]);
    await Promise.all([ann.joins(huddle), ben.joins(huddle)]);
    await Promise.all([ann.seesVideoOf('Ben'), ben.seesVideoOf('Ann')]);
  }, STORY_MS);
});
