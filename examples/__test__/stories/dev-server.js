'use strict';

// The dev server: edits are served, and calls continue.

const { execFileSync } = require('node:child_process');
const { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { folderOf, startDevServer } = require('../../../test-support/example-server.js');
const { STORY_MS, providers, useApp } = require('../support/use-app.js');

/** @typedef {import('../../../test-support/example-server.js').Name} Name */

/** Files that the tests edit. @type {Record<Name, { platform: string, roster: string }>} */
const EDITED = {
  'react-router': { platform: 'app/lib/platform.server.ts', roster: 'app/routes/home.tsx' },
  sveltekit: { platform: 'src/lib/server/platform.ts', roster: 'src/lib/components/Roster.svelte' },
};

/** Copies the app with its modules, so that edits do not change tracked files. @param {Name} name */
function copyOf(name) {
  const source = folderOf(name);
  const copy = path.join(__dirname, '../../../.cache/examples', name);
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  for (const entry of readdirSync(source)) {
    if (['node_modules', 'build', '.react-router', '.svelte-kit'].includes(entry)) continue;
    cpSync(path.join(source, entry), path.join(copy, entry), { recursive: true });
  }
  const modules = [path.join(source, 'node_modules'), path.join(copy, 'node_modules')];
  // Hard links take a tenth of the time of copies.
  if (process.platform === 'linux') execFileSync('cp', ['-al', ...modules]);
  else cpSync(modules[0], modules[1], { recursive: true, verbatimSymlinks: true });
  rmSync(path.join(copy, 'node_modules/.vite'), { recursive: true, force: true });
  return copy;
}

/** @param {import('../support/use-app.js').Browsers} browsers @param {Name} name */
function describeDevServer(browsers, name) {
  let folder;
  const suite = useApp(browsers, async () => {
    const { env, stop, ...server } = await providers['the embedded engine']();
    folder = copyOf(name);
    return { app: await startDevServer(name, { env, folder }), server, stop };
  });
  afterAll(() => folder && rmSync(folder, { recursive: true, force: true }));

  const edit = (file, change) => {
    const target = path.join(folder, file);
    const text = readFileSync(target, 'utf8');
    const changed = change(text);
    if (changed === text) throw new Error(`nothing to edit in ${file}`);
    writeFileSync(target, changed);
  };

  it('an edited server file is served during a call, and the call continues', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = [await suite.visitor('Ann'), await suite.visitor('Ben', 'firefox')];
    await ann.join(huddle);
    await ben.join(huddle);
    await Promise.all([ann.receivesVideoOf('Ben'), ben.receivesVideoOf('Ann')]);
    const before = [await ann.look(), await ben.look()];

    edit(EDITED[name].platform, (text) => `${text}\nconsole.log('the edited platform is loaded');\n`);
    const cat = await suite.visitor('Cat');
    await cat.waitFor('the edited server', () => expect(suite.app().logs()).toContain('the edited platform is loaded'));
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await Promise.all([ann.receivesVideoOf('Ben'), ben.receivesVideoOf('Ann')]);
    await cat.join(huddle);
    await cat.receivesVideoOf('Ann');
    await ann.hasParticipants('Ann (you)', 'Ben', 'Cat');
    const after = [await ann.look(), await ben.look()];
    expect(after.map(({ mark }) => mark)).toEqual(before.map(({ mark }) => mark));
  }, STORY_MS);

  it('a token has the URL of the dev server, which serves signalling', async () => {
    const client = await suite.signedInClient('Ann');
    const { token, url } = await (await client.post(`/api/huddles/${suite.newHuddle()}/join`)).json();
    expect(url).toBe(`${suite.app().url.replace('http', 'ws')}/media`);
    const validation = await fetch(`${url.replace('ws', 'http')}/rtc/validate?access_token=${token}`);
    expect(validation.status).toBe(200);
  });

  it('an edited page is updated in an open tab without a reload', async () => {
    const ann = await suite.visitor('Ann');
    await ann.waitFor('a live lobby', ({ streams }) => expect(streams).toBeGreaterThan(0));
    const { mark } = await ann.look();
    edit(EDITED[name].roster, (text) => text.replace('Live now', 'On air'));
    await ann.waitFor('the edit', (seen) => expect(seen).toMatchObject({ text: expect.stringContaining('On air'), mark }));
  }, STORY_MS);
}

module.exports = { describeDevServer };
