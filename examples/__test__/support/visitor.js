'use strict';

// A user of the app in a browser, who finds elements by role and name.

const axe = require('axe-core');
const { eventually } = require('../../../test-support/eventually.js');
const { look, prepare } = require('./page.js');

/**
 * @typedef {object} Tile
 * @property {string} name
 * @property {boolean} isMuted
 * @property {boolean} isSpeaking Marked as a speaker.
 * @property {{ width: number, frames: number, brightness: number, print: number }} [picture] `undefined` while the camera is off.
 */

/**
 * State of a page.
 * @typedef {object} PageState
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
 * @property {{ huddle: string, people: string[] }[]} [live] List of the lobby.
 * @property {boolean} [isEmpty] The lobby shows that there are no huddles.
 * @property {number} sounds Playing audio elements.
 * @property {{ frames: number, energy: number }} received
 * @property {number} streams Opened event streams.
 * @property {boolean} isAwaitingDevices The page waits for devices.
 * @property {string[]} devices Ready states of the granted devices: `live` or `ended`.
 * @property {number} mark Changes when the page is reloaded.
 * @property {{ page: number, window: number }} width
 * @property {string} text
 */

const ACT_MS = 30_000;
/** Joining waits for devices, which takes long on a busy machine. */
const JOIN_MS = 60_000;
const CLOSE_MS = 5_000;
/** Time until a message is sent again. */
const RETRY_MS = 2_000;
const DESK = { width: 1280, height: 800 };
const MIN_BRIGHTNESS = 16;
const MIN_FRAMES = 4;
/** Minimum new audio energy; a beep of a fake microphone has a hundred times as much. */
const MIN_ENERGY = 1e-5;
const MAX_LINES = 30;
/** Firefox's error for a response that is read while the page is left. */
const LEFT_WHILE_READING = 'TypeError: Error in input stream';

expect.extend({
  atLeast: (received, min) => ({ pass: received >= min, message: () => `${received} is less than ${min}` }),
  atMost: (received, max) => ({ pass: received <= max, message: () => `${received} is more than ${max}` }),
  other: (received, than) => ({ pass: received !== than, message: () => `${received} and ${than}` }),
});

class Visitor {
  /** Uncaught errors of the page. @type {string[]} */
  errors = [];
  /** Last console lines of the page. @type {string[]} */
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
      this.lines.splice(0, this.lines.length - MAX_LINES);
    });
  }

  /**
   * Opens a window with its own cookies.
   * @param {import('puppeteer-core').Browser} browser
   * @param {string} name
   * @param {{ url: string, logs: () => string }} app
   */
  static async open(browser, name, app) {
    const context = await browser.createBrowserContext();
    return Visitor.#openPage(context, name, app);
  }

  static async #openPage(context, name, app) {
    const page = await context.newPage();
    await page.setViewport(DESK);
    await page.evaluateOnNewDocument(prepare);
    return new Visitor(name, page, app);
  }

  /** Opens another tab with the same session. */
  async openTab() {
    return Visitor.#openPage(this.page.browserContext(), this.name, this.app);
  }

  async closeTab() {
    await this.page.close();
  }

  /** Closes the window, without waiting for requests of the page. */
  async close() {
    const closed = this.page.browserContext().close().catch(() => {});
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
  }

  /** @param {string} path */
  async goTo(path) {
    await this.page.goto(new URL(path, this.app.url).href, { waitUntil: 'domcontentloaded' });
  }

  /** @returns {Promise<PageState>} */
  look() {
    return this.page.evaluate(look);
  }

  /**
   * Waits until the state passes the check.
   * @param {string} what The condition, for the error.
   * @param {(state: PageState) => unknown} check
   * @param {number} [within] Milliseconds.
   */
  async waitFor(what, check, within = ACT_MS) {
    // While a page is loading, its state cannot be read.
    const lookSafely = () => this.look().catch((error) => ({ error: String(error) }));
    const checkState = (state) => {
      if (state.error) throw new Error(state.error);
      return check(state);
    };
    try {
      return await eventually(`${this.name} waits for ${what}`, lookSafely, checkState, { within });
    } catch (error) {
      error.message += `\nthe page printed:\n${this.lines.join('\n')}\n${this.errors.join('\n')}\nthe app printed:\n${this.app.logs().slice(-2_000)}`;
      throw error;
    }
  }

  /** @param {Record<string, any>} expected @param {number} [within] */
  hasState(expected, within) {
    return this.waitFor(Object.keys(expected).join(', '), (state) => expect(state).toMatchObject(expected), within);
  }

  /** Waits until the lobby lists the huddle with these people, or, without people, does not list it. @param {string} huddle @param {string[]} people */
  seesInLobby(huddle, ...people) {
    return this.waitFor(`${huddle} with ${people.join(', ') || 'no people'} in the lobby`, ({ live }) => {
      const listed = live?.find((each) => each.huddle === huddle)?.people ?? [];
      expect(listed.toSorted()).toEqual(people.toSorted());
    });
  }

  /** @param {string} h1 @param {number} [within] */
  hasHeading(h1, within) {
    return this.waitFor(h1, (state) => expect(state).toMatchObject({ h1 }), within);
  }

  #find(role, name) {
    return this.page.locator(`::-p-aria([name="${name}"][role="${role}"])`).setTimeout(ACT_MS);
  }

  /** @param {string} role @param {string} name @param {() => Promise<unknown>} act */
  async #act(role, name, act) {
    try {
      await act();
    } catch (error) {
      const state = await this.look().catch(String);
      error.message = `${this.name}: ${role} "${name}": ${error.message}\nstate: ${JSON.stringify(state)}`;
      throw error;
    }
  }

  /** @param {string} button */
  press(button) {
    return this.#act('button', button, () => this.#find('button', button).click());
  }

  /** @param {string} link */
  follow(link) {
    return this.#act('link', link, () => this.#find('link', link).click());
  }

  /** @param {string} box @param {string} text */
  async fill(box, text) {
    await this.#act('textbox', box, () => this.#find('textbox', box).fill(text));
  }

  /** Presses keys; other texts are typed. @param {string[]} keys */
  async type(...keys) {
    for (const key of keys) {
      if (/^(Tab|Enter|Space|Escape)$/.test(key)) await this.page.keyboard.press(/** @type {any} */ (key));
      else await this.page.keyboard.type(key);
    }
  }

  /** Presses Tab until the element has the focus. @param {string} name */
  async tabTo(name) {
    const passed = [];
    for (let count = 0; count < 40; count += 1) {
      await this.page.keyboard.press('Tab');
      const focused = await this.page.evaluate(() => {
        const element = document.activeElement;
        return (element?.getAttribute('aria-label') ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? '').trim();
      });
      if (focused === name) return;
      passed.push(focused);
    }
    throw new Error(`${this.name}: Tab did not reach "${name}", but ${JSON.stringify(passed)}`);
  }

  /** Signs in on the lobby page. */
  async signIn() {
    await this.goTo('/');
    await this.fill('Your name', this.name);
    await this.press('Continue');
    await this.hasState({ boxes: ['Huddle name'] });
  }

  /** Joins through the lobby. @param {string} huddle */
  async join(huddle) {
    await this.goTo('/');
    // The event stream shows that the page is hydrated.
    await this.waitFor('a live lobby', ({ streams }) => expect(streams).toBeGreaterThan(0));
    await this.fill('Huddle name', huddle);
    await this.press('Join');
    await this.isIn(huddle);
  }

  /** Joins by URL. @param {string} huddle */
  async openHuddle(huddle) {
    await this.goTo(`/huddles/${huddle}`);
    await this.isIn(huddle);
  }

  /** @param {string} huddle */
  isIn(huddle) {
    return this.waitFor(`the huddle ${huddle}`, ({ h1, people, buttons }) => {
      expect({ h1, names: people.map(({ name }) => name) }).toEqual({ h1: huddle, names: expect.arrayContaining([`${this.name} (you)`]) });
      expect(buttons).toEqual(expect.arrayContaining(['Mute', 'Stop camera', 'Leave']));
    }, JOIN_MS);
  }

  /** Waits until the call has exactly these people. @param {string[]} names */
  hasParticipants(...names) {
    return this.waitFor(`the people ${names}`, ({ people }) => expect(people.map(({ name }) => name).sort()).toEqual(names.sort()));
  }

  /**
   * Waits until new frames are drawn, and the picture is neither dark nor still.
   * @param {string} name @param {'people' | 'screens'} [where]
   */
  async receivesVideoOf(name, where = 'people') {
    /** @type {Tile['picture']} */
    let first;
    return this.waitFor(`video of ${name}`, (state) => {
      const picture = state[where].find((tile) => tile.name === name)?.picture;
      first ??= picture;
      expect(picture).toMatchObject({ frames: expect.atLeast((first?.frames ?? 0) + MIN_FRAMES), brightness: expect.atLeast(MIN_BRIGHTNESS) });
      expect(picture).toMatchObject({ print: expect.other(first?.print) });
    });
  }

  /** Waits for audio that is decoded, not silent, and played. */
  async receivesAudio() {
    const before = await this.look();
    return this.waitFor('audio', ({ received, sounds }) => {
      expect({ energy: received.energy, sounds }).toEqual({ energy: expect.atLeast(before.received.energy + MIN_ENERGY), sounds: expect.atLeast(1) });
    });
  }

  /** @param {string} text */
  async sendMessage(text) {
    const { boxes } = await this.look();
    if (!boxes.includes('Message')) await this.press('Chat');
    await this.fill('Message', text);
    await this.press('Send');
  }

  /** Sends until the other has received it: livekit-server drops data in the first second of a participant. @param {Visitor} other @param {string} text */
  async sendMessageTo(other, text) {
    const deadline = Date.now() + ACT_MS;
    for (;;) {
      await this.sendMessage(text);
      try {
        return await other.receivesMessage(text, RETRY_MS);
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  }

  /** @param {string} text @param {number} [within] */
  async receivesMessage(text, within) {
    const { boxes } = await this.look();
    if (!boxes.includes('Message')) await this.press('Chat');
    await this.waitFor(`the message "${text}"`, ({ messages }) => expect(messages).toEqual(expect.arrayContaining([expect.stringContaining(text)])), within);
  }

  /** Sends a POST from the page. @param {string} path @param {Record<string, string>} [form] */
  post(path, form = {}) {
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

  /** Pages loaded afterwards have no camera. */
  removeCamera() {
    return this.page.evaluateOnNewDocument(() => {
      const { mediaDevices } = navigator;
      const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = ({ video, ...rest }) =>
        video ? Promise.reject(new DOMException('Requested device not found', 'NotFoundError')) : getUserMedia(rest);
    });
  }

  /** Pages loaded afterwards get no devices before {@link grantDevices}. */
  delayDevices() {
    return this.page.evaluateOnNewDocument(() => {
      const { mediaDevices } = navigator;
      const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = async (constraints) => {
        await new Promise((resolve) => Object.assign(window.test, { allow: resolve, isAwaitingDevices: true }));
        const stream = await getUserMedia(constraints);
        window.test.devices = stream.getTracks();
        return stream;
      };
    });
  }

  /** Grants the requested devices. */
  grantDevices() {
    return this.page.evaluate(() => window.test.allow());
  }

  /** Cuts the signal connection, until {@link restoreSignal}. */
  cutSignal() {
    return this.page.evaluate(() => window.test.cut());
  }

  restoreSignal() {
    return this.page.evaluate(() => window.test.restore());
  }

  /** Violations that axe-core reports. @returns {Promise<string[]>} */
  async axeViolations() {
    await this.page.evaluate(axe.source);
    const violations = await this.page.evaluate(async () => {
      const { violations } = await window.axe.run();
      return violations.map(({ id, help, nodes }) => ({ id, help, where: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
    });
    return violations.map(({ id, help, where }) => `${id}: ${help}\n  ${where.join('\n  ')}`);
  }
}

module.exports = { Visitor };
