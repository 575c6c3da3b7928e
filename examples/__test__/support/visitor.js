'use strict';

// Somebody in front of a browser, as the tests speak of one: who finds things by their role and name.

const axe = require('axe-core');
const { eventually } = require('../../../test-support/eventually.js');
const { look, prepare } = require('./page.js');

/**
 * @typedef {object} Tile
 * @property {string} name
 * @property {boolean} isMuted
 * @property {boolean} isSpeaking Marked as one who speaks.
 * @property {{ width: number, frames: number, brightness: number, print: number }} [picture] None while the camera is off.
 */

/**
 * What a visitor can tell of the page.
 * @typedef {object} Seen
 * @property {string} path
 * @property {string} h1
 * @property {string[]} status
 * @property {string[]} alerts
 * @property {Tile[]} people
 * @property {Tile[]} screens
 * @property {string[]} buttons
 * @property {string[]} links
 * @property {string[]} boxes
 * @property {string[]} messages
 * @property {{ huddle: string, people: string[] }[]} [live] The lobby's list.
 * @property {boolean} [nobody] The lobby says that nobody is in a huddle.
 * @property {number} sounds Of others, that are played.
 * @property {{ frames: number, energy: number }} received
 * @property {number} streams That were opened, of server-sent events.
 * @property {boolean} isAsked The browser asks whether the page may have devices.
 * @property {string[]} given Whether each device that was given is `live` or `ended`.
 * @property {number} mark Another one when the page is loaded anew.
 * @property {{ page: number, window: number }} width
 * @property {string} text
 */

const ACT_MS = 30_000;
/** Joining waits for devices, which take their time where everything encodes. */
const JOIN_MS = 60_000;
const CLOSE_MS = 5_000;
const DESK = { width: 1280, height: 800 };
const DARK = 16;
const FRAMES = 4;
/** A beep of a fake microphone has a hundred times as much. */
const ENERGY = 1e-5;
const LINES_KEPT = 30;
/** Firefox's error for a response that was still being read when the page was left. */
const LEFT_WHILE_READING = 'TypeError: Error in input stream';

expect.extend({
  atLeast: (received, least) => ({ pass: received >= least, message: () => `${received} is less than ${least}` }),
  atMost: (received, most) => ({ pass: received <= most, message: () => `${received} is more than ${most}` }),
  other: (received, than) => ({ pass: received !== than, message: () => `${received} and ${than}` }),
});

class Visitor {
  /** What went wrong in the page by itself. @type {string[]} */
  errors = [];
  /** What the page has printed last. @type {string[]} */
  lines = [];

  /**
   * @param {string} name
   * @param {import('puppeteer-core').Page} page
   * @param {{ url: string, logs: () => string }} app
   */
  constructor(name, page, app) {
    Object.assign(this, { name, page, app });
    page.on('pageerror', (error) => {
      const text = String(error.stack ?? error);
      if (!text.includes(LEFT_WHILE_READING)) this.errors.push(text);
    });
    page.on('console', (message) => {
      this.lines.push(`${message.type()}: ${message.text().slice(0, 300)}`);
      this.lines.splice(0, this.lines.length - LINES_KEPT);
    });
  }

  /**
   * A window of their own, with cookies of their own.
   * @param {import('puppeteer-core').Browser} browser
   * @param {string} name
   * @param {{ url: string, logs: () => string }} app
   */
  static async arrives(browser, name, app) {
    const context = await browser.createBrowserContext();
    return Visitor.#opens(context, name, app);
  }

  static async #opens(context, name, app) {
    const page = await context.newPage();
    await page.setViewport(DESK);
    await page.evaluateOnNewDocument(prepare);
    return new Visitor(name, page, app);
  }

  /** The same person in another tab. */
  async opensAnotherTab() {
    return Visitor.#opens(this.page.browserContext(), this.name, this.app);
  }

  async closesTab() {
    await this.page.close();
  }

  /** Closes the window; what the page would still say is not waited for. */
  async goes() {
    const closed = this.page.browserContext().close().catch(() => {});
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
  }

  /** @param {string} path */
  async opens(path) {
    await this.page.goto(new URL(path, this.app.url).href, { waitUntil: 'domcontentloaded' });
  }

  /** @returns {Promise<Seen>} */
  look() {
    return this.page.evaluate(look);
  }

  /**
   * It comes to be as the check wants it.
   * @param {string} what In the words of the test.
   * @param {(seen: Seen) => unknown} check
   * @param {number} [within] Milliseconds.
   */
  async finds(what, check, within = ACT_MS) {
    // While a page is exchanged for another, there is nothing to look at.
    const carefully = () => this.look().catch((error) => ({ error: String(error) }));
    const checkSeen = (seen) => {
      if (seen.error) throw new Error(seen.error);
      return check(seen);
    };
    try {
      return await eventually(`${this.name} finds: ${what}`, carefully, checkSeen, { within });
    } catch (error) {
      error.message += `\nthe page printed:\n${this.lines.join('\n')}\n${this.errors.join('\n')}\nthe app printed:\n${this.app.logs().slice(-2_000)}`;
      throw error;
    }
  }

  /** @param {Record<string, any>} expected @param {number} [within] */
  sees(expected, within) {
    return this.finds(Object.keys(expected).join(', '), (seen) => expect(seen).toMatchObject(expected), within);
  }

  /** The lobby lists the huddle with these people, or, without any, not at all. @param {string} huddle @param {string[]} people */
  seesInLobby(huddle, ...people) {
    return this.finds(`${huddle} with ${people.join(', ') || 'nobody'} in the lobby`, ({ live }) => {
      const listed = live?.find((each) => each.huddle === huddle)?.people ?? [];
      expect(listed.toSorted()).toEqual(people.toSorted());
    });
  }

  /** @param {string} h1 @param {number} [within] */
  isTold(h1, within) {
    return this.finds(h1, (seen) => expect(seen).toMatchObject({ h1 }), within);
  }

  #find(role, name) {
    return this.page.locator(`::-p-aria([name="${name}"][role="${role}"])`).setTimeout(ACT_MS);
  }

  /** @param {string} role @param {string} name @param {() => Promise<unknown>} act */
  async #tries(role, name, act) {
    try {
      await act();
    } catch (error) {
      const seen = await this.look().catch(String);
      error.message = `${this.name}: ${role} "${name}": ${error.message}\nthere was: ${JSON.stringify(seen)}`;
      throw error;
    }
  }

  /** @param {string} button */
  presses(button) {
    return this.#tries('button', button, () => this.#find('button', button).click());
  }

  /** @param {string} link */
  follows(link) {
    return this.#tries('link', link, () => this.#find('link', link).click());
  }

  /** @param {string} box @param {string} text */
  async writes(box, text) {
    await this.#tries('textbox', box, () => this.#find('textbox', box).fill(text));
  }

  /** Keys, one after another; a text that is no key's name is typed. @param {string[]} keys */
  async types(...keys) {
    for (const key of keys) {
      if (/^(Tab|Enter|Space|Escape)$/.test(key)) await this.page.keyboard.press(/** @type {any} */ (key));
      else await this.page.keyboard.type(key);
    }
  }

  /** Goes on with Tab until that is in focus. @param {string} name */
  async tabsTo(name) {
    const passed = [];
    for (let turn = 0; turn < 40; turn += 1) {
      await this.page.keyboard.press('Tab');
      const focused = await this.page.evaluate(() => {
        const element = document.activeElement;
        return (element?.getAttribute('aria-label') ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? '').trim();
      });
      if (focused === name) return;
      passed.push(focused);
    }
    throw new Error(`${this.name}: Tab never came to "${name}", but to ${JSON.stringify(passed)}`);
  }

  /** Signs in, from wherever the page says who they are. */
  async signsIn() {
    await this.opens('/');
    await this.writes('Your name', this.name);
    await this.presses('Continue');
    await this.sees({ boxes: ['Huddle name'] });
  }

  /** Through the lobby. @param {string} huddle */
  async joins(huddle) {
    await this.opens('/');
    // From then on the page is alive.
    await this.finds('a live lobby', ({ streams }) => expect(streams).toBeGreaterThan(0));
    await this.writes('Huddle name', huddle);
    await this.presses('Join');
    await this.isIn(huddle);
  }

  /** By its address. @param {string} huddle */
  async comesTo(huddle) {
    await this.opens(`/huddles/${huddle}`);
    await this.isIn(huddle);
  }

  /** @param {string} huddle */
  isIn(huddle) {
    return this.finds(`the huddle ${huddle}`, ({ h1, people, buttons }) => {
      expect({ h1, names: people.map(({ name }) => name) }).toEqual({ h1: huddle, names: expect.arrayContaining([`${this.name} (you)`]) });
      expect(buttons).toEqual(expect.arrayContaining(['Mute', 'Stop camera', 'Leave']));
    }, JOIN_MS);
  }

  /** Exactly these people are there. @param {string[]} names */
  seesPeople(...names) {
    return this.finds(`the people ${names}`, ({ people }) => expect(people.map(({ name }) => name).sort()).toEqual(names.sort()));
  }

  /**
   * Frames are drawn, and the picture is neither dark nor still.
   * @param {string} name @param {'people' | 'screens'} [where]
   */
  async seesVideoOf(name, where = 'people') {
    /** @type {Tile['picture']} */
    let first;
    return this.finds(`the picture of ${name}`, (seen) => {
      const picture = seen[where].find((tile) => tile.name === name)?.picture;
      first ??= picture;
      expect(picture).toMatchObject({ frames: expect.atLeast((first?.frames ?? 0) + FRAMES), brightness: expect.atLeast(DARK) });
      expect(picture).toMatchObject({ print: expect.other(first?.print) });
    });
  }

  /** Something is heard: what comes is decoded, not silent, and played. */
  async hearsSomebody() {
    const before = await this.look();
    return this.finds('somebody speaks', ({ received, sounds }) => {
      expect({ energy: received.energy, sounds }).toEqual({ energy: expect.atLeast(before.received.energy + ENERGY), sounds: expect.atLeast(1) });
    });
  }

  /** @param {string} text */
  async says(text) {
    const { boxes } = await this.look();
    if (!boxes.includes('Message')) await this.presses('Chat');
    await this.writes('Message', text);
    await this.presses('Send');
  }

  /** Says it until the other has read it: livekit-server loses what is said in the first second of a participant. @param {Visitor} other @param {string} text */
  async tells(other, text) {
    const [deadline, patience] = [Date.now() + ACT_MS, 2_000];
    for (;;) {
      await this.says(text);
      try {
        return await other.reads(text, patience);
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  }

  /** @param {string} text @param {number} [within] */
  async reads(text, within) {
    const { boxes } = await this.look();
    if (!boxes.includes('Message')) await this.presses('Chat');
    await this.finds(`the message "${text}"`, ({ messages }) => expect(messages).toEqual(expect.arrayContaining([expect.stringContaining(text)])), within);
  }

  /** Asks a route as the page's own scripts do. @param {string} path @param {Record<string, string>} [form] */
  asks(path, form = {}) {
    return this.page.evaluate(
      async (path, form) => {
        const response = await fetch(path, { method: 'POST', body: new URLSearchParams(form) });
        const body = await response.text();
        return { status: response.status, body };
      },
      path,
      form,
    );
  }

  /** From the next page on the browser has no camera. */
  hasNoCamera() {
    return this.page.evaluateOnNewDocument(() => {
      const { mediaDevices } = navigator;
      const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = ({ video, ...rest }) =>
        video ? Promise.reject(new DOMException('Requested device not found', 'NotFoundError')) : getUserMedia(rest);
    });
  }

  /** From the next page on the browser asks before it gives devices, and waits for {@link allows}. */
  isAskedForDevices() {
    return this.page.evaluateOnNewDocument(() => {
      const { mediaDevices } = navigator;
      const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = async (wanted) => {
        await new Promise((resolve) => Object.assign(window.test, { allow: resolve, isAsked: true }));
        const stream = await getUserMedia(wanted);
        window.test.given = stream.getTracks();
        return stream;
      };
    });
  }

  /** Gives the devices that were asked for. */
  allows() {
    return this.page.evaluate(() => window.test.allow());
  }

  /** The signalling breaks, and cannot be had again until it is mended. */
  losesConnection() {
    return this.page.evaluate(() => window.test.cut());
  }

  getsConnection() {
    return this.page.evaluate(() => window.test.mend());
  }

  /** What axe-core finds wrong. @returns {Promise<string[]>} */
  async barriers() {
    await this.page.evaluate(axe.source);
    const violations = await this.page.evaluate(async () => {
      const { violations } = await window.axe.run();
      return violations.map(({ id, help, nodes }) => ({ id, help, where: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
    });
    return violations.map(({ id, help, where }) => `${id}: ${help}\n  ${where.join('\n  ')}`);
  }
}

module.exports = { Visitor };
