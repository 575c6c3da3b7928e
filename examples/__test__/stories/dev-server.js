'use strict';

// The dev server: what is edited is served, and a call goes on meanwhile.

const { execFileSync } = require('node:child_process');
const { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { folderOf, startDevServer } = require('../../../test-support/example-server.js');
const { STORY_MS, providers, setHouse } = require('../support/house.js');

/** @typedef {import('../../../test-support/example-server.js').Name} Name */

/** What is edited in a running dev server. @type {Record<Name, { platform: string, roster: string }>} */
const EDITED = {
  'react-router': { platform: 'app/lib/platform.server.ts', roster: 'app/routes/home.tsx' },
  sveltekit: { platform: 'src/lib/server/platform.ts', roster: 'src/lib/components/Roster.svelte' },
};

/** A copy with its modules, on the same disk, so that an edit touches nothing that is committed. @param {Name} name */
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
  // Links are made in a tenth of the time.
  if (process.platform === 'linux') execFileSync('cp', ['-al', ...modules]);
  else cpSync(modules[0], modules[1], { recursive: true, verbatimSymlinks: true });
  rmSync(path.join(copy, 'node_modules/.vite'), { recursive: true, force: true });
  return copy;
}

/** @param {import('../support/house.js').Browsers} browsers @param {Name} name */
function describeDevServer(browsers, name) {
  let folder;
  const house = setHouse(browsers, async () => {
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

  it('an edit of a server file during a call is served, and the call goes on', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = [await house.visitor('Ann'), await house.visitor('Ben', 'firefox')];
    await ann.joins(huddle);
    await ben.joins(huddle);
    await Promise.all([ann.seesVideoOf('Ben'), ben.seesVideoOf('Ann')]);
    const before = [await ann.look(), await ben.look()];

    edit(EDITED[name].platform, (text) => `${text}\nconsole.log('the edited platform is loaded');\n`);
    const cat = await house.visitor('Cat');
    await cat.finds('the edited server', () => expect(house.app().logs()).toContain('the edited platform is loaded'));
    await cat.seesInLobby(huddle, 'Ann', 'Ben');
    await Promise.all([ann.seesVideoOf('Ben'), ben.seesVideoOf('Ann')]);
    await cat.joins(huddle);
    await cat.seesVideoOf('Ann');
    await ann.seesPeople('Ann (you)', 'Ben', 'Cat');
    const after = [await ann.look(), await ben.look()];
    expect(after.map(({ mark }) => mark)).toEqual(before.map(({ mark }) => mark));
  }, STORY_MS);

  it('an edit of a page shows in an open tab, which is not loaded anew', async () => {
    const ann = await house.visitor('Ann');
    await ann.finds('a live lobby', ({ streams }) => expect(streams).toBeGreaterThan(0));
    const { mark } = await ann.look();
    edit(EDITED[name].roster, (text) => text.replace('Live now', 'On air'));
    await ann.finds('the edit', (seen) => expect(seen).toMatchObject({ text: expect.stringContaining('On air'), mark }));
  }, STORY_MS);
}

module.exports = { describeDevServer };
