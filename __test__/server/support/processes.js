'use strict';

const { execFileSync, fork } = require('node:child_process');
const path = require('node:path');

/** All that a child gets to know of ours. */
const ENVIRONMENT = { PATH: process.env.PATH, HOME: process.env.HOME };
const EVENT_MS = 10_000;

/**
 * A child process that is told to do things, and tells what happens to it.
 * @param {string} file
 * @param {{ env?: Record<string, string>, onEvent?: (event: any) => void }} [options]
 */
async function startChild(file, { env = {}, onEvent = () => {} } = {}) {
  const child = fork(path.join(__dirname, file), { execArgv: [], env: { ...ENVIRONMENT, ...env }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let printed = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => (printed += text));
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  let calls = 0;
  const ended = new Promise((resolve) => child.once('close', resolve));
  const ready = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const error = new Error(`${file} ended with ${signal ?? code}; it printed:\n${printed.slice(-4000)}`);
      reject(error);
      for (const { reject } of waiting.values()) reject(error);
    });
    child.on('message', (/** @type {any} */ message) => {
      if (message.ready) return resolve(undefined);
      if (message.call === undefined) return onEvent(message);
      const call = waiting.get(message.call);
      waiting.delete(message.call);
      if (message.error === undefined) call?.resolve(message.value);
      else call?.reject(new Error(message.error));
    });
  });
  await ready;
  return {
    /** @param {string} method @param {object} [details] @returns {Promise<any>} */
    call(method, details = {}) {
      calls += 1;
      const call = calls;
      return new Promise((resolve, reject) => {
        waiting.set(call, { resolve, reject });
        child.send({ call, method, ...details });
      });
    },
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/**
 * A process of LiveKit clients. `join` rejects where the server refuses.
 */
async function startClients() {
  /** @type {Map<number, (event: any) => void>} */
  const listeners = new Map();
  const child = await startChild('joiner.js', { onEvent: (event) => listeners.get(event.client)?.(event) });
  let clients = 0;
  return {
    /**
     * @param {{ url: string, token: string }} minted What `generateToken` gave.
     * @param {{ autoSubscribe?: boolean }} [options]
     */
    async join({ url, token }, options = {}) {
      clients += 1;
      const client = clients;
      const events = new Events();
      listeners.set(client, (event) => events.add(event));
      /** @param {string} method @param {...unknown} args */
      const call = (method, ...args) => child.call(method, { client, args });
      /** What the client knew once it had joined. */
      const joined = await call('join', url, token, options);
      return {
        joined,
        events,
        /** @param {string} event @param {(detail: any) => boolean} [matches] */
        next: (event, matches) => events.next(event, matches),
        /** @param {string} source @returns {Promise<string>} The track's sid. */
        publish: (source) => call('publish', source),
        /** @param {string} sid */
        mute: (sid) => call('mute', sid),
        /** @param {string} text @param {string} [topic] */
        sendData: (text, topic) => call('sendData', text, topic),
        /** @param {string} name */
        rename: (name) => call('rename', name),
        leave: () => call('leave'),
      };
    },
    /** All that are still in a room leave it, so that they cost the next test no time. */
    leaveAll: () => child.call('leaveAll', { args: [] }),
    stop: () => child.stop(),
  };
}

/** What happened to a client, to be awaited in any order. */
class Events {
  /** @type {{ event: string, detail: any }[]} */
  #seen = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {{ event: string, detail: any }} event */
  add(event) {
    this.#seen.push(event);
    for (const wake of this.#waiting) wake();
  }

  /** The details of those seen and not yet taken by `next`. @param {string} event @returns {any[]} */
  seen(event) {
    return this.#seen.filter((each) => each.event === event).map((each) => each.detail);
  }

  /**
   * Takes the first event of that name, and waits for it if need be.
   * @param {string} event
   * @param {(detail: any) => boolean} [matches]
   * @param {number} [withinMs]
   * @returns {Promise<any>} Its detail.
   */
  next(event, matches = () => true, withinMs = EVENT_MS) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const index = this.#seen.findIndex((each) => each.event === event && matches(each.detail));
        if (index < 0) return;
        const [{ detail }] = this.#seen.splice(index, 1);
        finish();
        resolve(detail);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no ${event} within ${withinMs} ms; seen: ${JSON.stringify(this.#seen)}`));
      }, withinMs);
      const finish = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/**
 * A process that calls our package: for what a process reads once (proxies, the clock, the regions it knows).
 * @param {import('../../../index.js').PlatformOptions} options For `createPlatform`.
 * @param {Record<string, string>} [env] Nothing else is in its environment.
 */
async function startCaller(options, env) {
  const child = await startChild('caller.js', { env });
  await child.call('open', { options });
  return {
    /**
     * @param {string} method A method of `media`.
     * @param {...unknown} args
     * @returns {Promise<{ value?: any, error?: any, ms: number }>}
     */
    run: (method, ...args) => child.call('run', { name: method, args }),
    /** The same, given up after a time; the last argument is the call's options. @param {number} abortAfterMs @param {string} method @param {...unknown} args */
    runUntil: (abortAfterMs, method, ...args) => child.call('run', { name: method, args, abortAfterMs }),
    /** The last value as each framework hands it to a browser. @returns {Promise<unknown[]>} */
    carry: () => child.call('carry'),
    stop: () => child.stop(),
  };
}

/**
 * The environment of a process whose clock is off. Not the command `faketime`: that is a process between us and ours.
 * @param {string} shift Such as `+5m`.
 */
function withClockOff(shift) {
  const library = execFileSync('faketime', ['-f', shift, 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' }).trim();
  return { LD_PRELOAD: library, FAKETIME: shift, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

module.exports = { Events, startCaller, startClients, withClockOff };
