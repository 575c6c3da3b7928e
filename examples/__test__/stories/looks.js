'use strict';

// Who can use it: with any eyes, on a phone, with the keyboard alone.

const { STORY_MS, serveWith, setHouse } = require('../support/house.js');

const PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true };

/** @param {import('../support/house.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeLooks(browsers, name) {
  const house = setHouse(browsers, serveWith(name, 'the embedded engine'));

  it('everyone can use it: axe-core finds nothing in lobby, call and end, in light and dark', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.stranger('Ann'), house.visitor('Ben', 'firefox')]);
    const found = {};
    await ann.opens('/');
    found.signIn = await ann.barriers();
    await ann.signsIn();
    await ben.joins(huddle);
    await ann.finds('the huddle in the lobby', ({ links }) => expect(links).toContain(`Join ${huddle}`));
    for (const value of ['light', 'dark']) {
      await ann.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
      found[`lobby, ${value}`] = await ann.barriers();
    }
    await ann.joins(huddle);
    await ann.says('hello');
    await ann.seesVideoOf('Ben');
    found.call = await ann.barriers();
    await ann.presses('Leave');
    await ann.isTold('You left');
    found.over = await ann.barriers();
    expect(found).toEqual(Object.fromEntries(Object.keys(found).map((page) => [page, []])));
  }, STORY_MS);

  it('it fits a phone', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.stranger('Ann'), house.visitor('Ben', 'firefox')]);
    const fits = async (where) => {
      const { width } = await ann.look();
      const most = expect.atMost(PHONE.width);
      expect({ where, ...width }).toEqual({ where, page: most, window: most });
    };
    await ann.page.setViewport(PHONE);
    await ann.opens('/');
    await fits('sign in');
    await ann.signsIn();
    await ben.joins(huddle);
    await ann.finds('the huddle in the lobby', ({ links }) => expect(links).toContain(`Join ${huddle}`));
    await fits('lobby');
    await ann.joins(huddle);
    await ann.seesVideoOf('Ben');
    await fits('call');
    await ann.presses('Chat');
    await ann.finds('the chat', ({ boxes }) => expect(boxes).toContain('Message'));
    await fits('chat');
    await ann.presses('Chat');
    await ann.presses('Leave');
    await ann.isTold('You left');
    await fits('over');
  }, STORY_MS);

  it('the keyboard is enough to come, to be muted and to go', async () => {
    const huddle = house.newHuddle();
    const [ann, ben] = await Promise.all([house.stranger('Ann'), house.visitor('Ben', 'firefox')]);
    await ben.joins(huddle);
    await ann.opens('/');
    await ann.tabsTo('Your name');
    await ann.types('Ann', 'Enter');
    await ann.sees({ boxes: ['Huddle name'] });
    await ann.tabsTo('Huddle name');
    await ann.types(huddle, 'Enter');
    await ann.isIn(huddle);
    await ann.tabsTo('Mute');
    await ann.types('Space');
    await ben.finds('Ann is muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: true })));
    // What was pressed is still in focus, though it is called otherwise now.
    await ann.types('Space');
    await ben.finds('Ann is not muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: false })));
    await ann.tabsTo('Leave');
    await ann.types('Enter');
    await ann.isTold('You left');
  }, STORY_MS);
}

module.exports = { describeLooks };
