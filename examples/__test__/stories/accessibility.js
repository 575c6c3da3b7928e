'use strict';

// Accessibility: axe-core, phone width and keyboard.

const { STORY_MS, serveWith, useApp } = require('../support/use-app.js');

const PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true };

/** @param {import('../support/use-app.js').Browsers} browsers @param {import('../../../test-support/example-server.js').Name} name */
function describeAccessibility(browsers, name) {
  const suite = useApp(browsers, serveWith(name, 'the embedded engine'));

  it('axe-core reports no violation in lobby, call and end, in light and dark', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.newVisitor('Ann'), suite.visitor('Ben', 'firefox')]);
    const violations = {};
    await ann.goTo('/');
    violations.signIn = await ann.axeViolations();
    await ann.signIn();
    await ben.join(huddle);
    await ann.waitFor('the huddle in the lobby', ({ links }) => expect(links).toContain(`Join ${huddle}`));
    for (const value of ['light', 'dark']) {
      await ann.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
      violations[`lobby, ${value}`] = await ann.axeViolations();
    }
    await ann.join(huddle);
    await ann.sendMessage('hello');
    await ann.receivesVideoOf('Ben');
    violations.call = await ann.axeViolations();
    await ann.press('Leave');
    await ann.hasHeading('You left');
    violations.over = await ann.axeViolations();
    expect(violations).toEqual(Object.fromEntries(Object.keys(violations).map((page) => [page, []])));
  }, STORY_MS);

  it('no page is wider than a phone', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.newVisitor('Ann'), suite.visitor('Ben', 'firefox')]);
    const fits = async (where) => {
      const { width } = await ann.look();
      const max = expect.atMost(PHONE.width);
      expect({ where, ...width }).toEqual({ where, page: max, window: max });
    };
    await ann.page.setViewport(PHONE);
    await ann.goTo('/');
    await fits('sign in');
    await ann.signIn();
    await ben.join(huddle);
    await ann.waitFor('the huddle in the lobby', ({ links }) => expect(links).toContain(`Join ${huddle}`));
    await fits('lobby');
    await ann.join(huddle);
    await ann.receivesVideoOf('Ben');
    await fits('call');
    await ann.press('Chat');
    await ann.waitFor('the chat', ({ boxes }) => expect(boxes).toContain('Message'));
    await fits('chat');
    await ann.press('Chat');
    await ann.press('Leave');
    await ann.hasHeading('You left');
    await fits('over');
  }, STORY_MS);

  it('a visitor can join, mute and leave with the keyboard', async () => {
    const huddle = suite.newHuddle();
    const [ann, ben] = await Promise.all([suite.newVisitor('Ann'), suite.visitor('Ben', 'firefox')]);
    await ben.join(huddle);
    await ann.goTo('/');
    await ann.tabTo('Your name');
    await ann.type('Ann', 'Enter');
    await ann.hasState({ boxes: ['Huddle name'] });
    await ann.tabTo('Huddle name');
    await ann.type(huddle, 'Enter');
    await ann.isIn(huddle);
    await ann.tabTo('Mute');
    await ann.type('Space');
    await ben.waitFor('Ann is muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: true })));
    // The button keeps the focus, though its name has changed.
    await ann.type('Space');
    await ben.waitFor('Ann is not muted', ({ people }) => expect(people).toContainEqual(expect.objectContaining({ name: 'Ann', isMuted: false })));
    await ann.tabTo('Leave');
    await ann.type('Enter');
    await ann.hasHeading('You left');
  }, STORY_MS);
}

module.exports = { describeAccessibility };
