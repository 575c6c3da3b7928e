'use strict';

// The packed package on newer Node.js versions, and the apps on the current majors of their frameworks. `npm run test:matrix` runs all their
// other tests there.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { folderOf, startExample } = require('../../test-support/example-server.js');
const { HttpClient, claimsOf } = require('./support/http-client.js');
const { SESSION_SECRET, openBrowsers, providers, useApp } = require('./support/use-app.js');

const run = promisify(execFile);
/** The first run installs and builds everything. */
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
  const suite = useApp(browsers, async () => {
    const { env } = await providers['the embedded engine']();
    const app = await startExample(name, { env: { SESSION_SECRET, ...env }, ...newer.apps[name], node: newer.node });
    return { app };
  });

  it('join responds with a token in a session, and with 401 without one', async () => {
    const { url } = suite.app();
    const ann = new HttpClient(url);
    expect((await ann.get('/')).status).toBe(200);
    expect((await ann.post('/api/huddles/any/join')).status).toBe(401);
    await ann.signIn('Ann');
    const { token } = await (await ann.post('/api/huddles/any/join')).json();
    expect(claimsOf(token)).toMatchObject({ name: 'Ann', video: { room: 'huddle:any' } });
  });

  it('two visitors receive video of each other', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.visitor('Ann'), suite.visitor('Ben')]);
    await Promise.all([ann.join(huddle), ben.join(huddle)]);
    await Promise.all([ann.receivesVideoOf('Ben'), ben.receivesVideoOf('Ann')]);
  }, STORY_MS);
});
