'use strict';

const { execFileSync, fork } = require('node:child_process');
const path = require('node:path');

/** The environment of child processes. */
const ENVIRONMENT = { PATH: process.env.PATH, HOME: process.env.HOME };
const EVENT_MS = 10_000;

/**
 * A child process that calls methods and sends events.
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
 * Starts a process of LiveKit clients. `join` rejects if the server rejects the client.
 */
async function startClients() {
  /** @type {Map<number, (event: any) => void>} */
  const listeners = new Map();
  const child = await startChild('client-process.js', { onEvent: (event) => listeners.get(event.client)?.(event) });
  let clients = 0;
  return {
    /**
     * @param {{ url: string, token: string }} minted Result of `generateToken`.
     * @param {{ autoSubscribe?: boolean }} [options]
     */
    async join({ url, token }, options = {}) {
      clients += 1;
      const client = clients;
      const events = new Events();
      listeners.set(client, (event) => events.add(event));
      /** @param {string} method @param {...unknown} args */
      const call = (method, ...args) => child.call(method, { client, args });
      /** State of the client after the join. */
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
    /** Disconnects all clients. */
    leaveAll: () => child.call('leaveAll', { args: [] }),
    stop: () => child.stop(),
  };
}

/** Events of a client, which can be awaited in any order. */
class Events {
  /** @type {{ event: string, detail: any }[]} */
  #received = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {{ event: string, detail: any }} event */
  add(event) {
    this.#received.push(event);
    for (const wake of this.#waiting) wake();
  }

  /** Details of the events that `next` has not returned. @param {string} event @returns {any[]} */
  all(event) {
    return this.#received.filter((each) => each.event === event).map((each) => each.detail);
  }

  /**
   * Removes the first event of that name, after waiting for it.
   * @param {string} event
   * @param {(detail: any) => boolean} [matches]
   * @param {number} [withinMs]
   * @returns {Promise<any>} Its detail.
   */
  next(event, matches = () => true, withinMs = EVENT_MS) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const index = this.#received.findIndex((each) => each.event === event && matches(each.detail));
        if (index < 0) return;
        const [{ detail }] = this.#received.splice(index, 1);
        finish();
        resolve(detail);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no ${event} within ${withinMs} ms; received: ${JSON.stringify(this.#received)}`));
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
 * Starts a process that calls the package, for state that exists once per process: proxies, the clock, known regions.
 * @param {import('../../../index.js').PlatformOptions} options For `createPlatform`.
 * @param {Record<string, string>} [env] The whole environment.
 */
async function startApp(options, env) {
  const child = await startChild('app.js', { env });
  await child.call('open', { options });
  return {
    /**
     * @param {string} method A method of `media`.
     * @param {...unknown} args
     * @returns {Promise<{ value?: any, error?: any, ms: number }>}
     */
    run: (method, ...args) => child.call('run', { name: method, args }),
    /** Runs and aborts it after a time; the last argument is the call's options. @param {number} abortAfterMs @param {string} method @param {...unknown} args */
    runUntil: (abortAfterMs, method, ...args) => child.call('run', { name: method, args, abortAfterMs }),
    /** The last result, serialized and parsed by SvelteKit and by React Router, in this order. @returns {Promise<unknown[]>} */
    serialize: () => child.call('serialize'),
    stop: () => child.stop(),
  };
}

/**
 * Environment of a process with a shifted clock. The command `faketime` would be another process between parent and child.
 * @param {string} shift Such as `+5m`.
 */
function withClockOff(shift) {
  const library = execFileSync('faketime', ['-f', shift, 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' }).trim();
  return { LD_PRELOAD: library, FAKETIME: shift, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

module.exports = { Events, startApp, startClients, withClockOff };
