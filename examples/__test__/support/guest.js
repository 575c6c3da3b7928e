'use strict';

// Somebody without a browser: speaks HTTP, keeps cookies, and fills in forms that need no script.

class Guest {
  #cookies = new Map();

  /** @param {string} url The app's. @param {string} [origin] What stands in their address bar, where a proxy is in between. */
  constructor(url, origin = url) {
    Object.assign(this, { url, origin });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ form?: Record<string, string>, headers?: Record<string, string>, signal?: AbortSignal }} [how]
   */
  async asks(method, path, { form, headers, signal } = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    // A browser names the origin of whatever is not a GET; apps rely on it.
    const origin = method !== 'GET' && { origin: this.origin };
    /** @type {RequestInit} */
    const request = { method, redirect: 'manual', headers: { ...(cookie && { cookie }), ...origin, ...headers }, signal };
    if (form) request.body = new URLSearchParams(form);
    const response = await fetch(new URL(path, this.url), request);
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  #keep(line) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value === '' || /max-age=0/i.test(line)) this.#cookies.delete(name);
    else this.#cookies.set(name, value);
  }

  /** What it has been given, as `name=value`. */
  get cookies() {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`);
  }

  /** Someone else writes into the cookie. @param {(value: string) => string} change */
  forges(change) {
    for (const [name, value] of this.#cookies) this.#cookies.set(name, change(value));
  }

  /** @param {string} path @param {Record<string, string>} [form] */
  posts(path, form = {}) {
    return this.asks('POST', path, { form });
  }

  /** @param {string} path */
  gets(path) {
    return this.asks('GET', path, { headers: { accept: 'text/html' } });
  }

  /** Signs in through the lobby's form, as a browser without scripts does; gives the answer. @param {string} name @param {string} [path] */
  async signsIn(name, path = '/') {
    const page = await (await this.gets(path)).text();
    const form = [...page.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)].find(([, , inside]) => inside.includes('Continue'));
    if (!form) throw new Error(`no form to sign in with: ${page.slice(0, 2_000)}`);
    const [, attributes, inside] = form;
    const fields = {};
    for (const [input] of inside.matchAll(/<input\b[^>]*>/g)) {
      const attribute = (key) => new RegExp(`\\b${key}="([^"]*)"`).exec(input)?.[1];
      const field = attribute('name');
      if (field) fields[field] = attribute('type') === 'hidden' ? (attribute('value') ?? '') : name;
    }
    const action = (/\baction="([^"]*)"/.exec(attributes)?.[1] ?? path).replaceAll('&amp;', '&');
    // An action that is a query alone belongs to the page's own path.
    const target = new URL(action, new URL(path, this.url));
    return this.asks('POST', target.pathname + target.search, { form: fields, headers: { accept: 'text/html' } });
  }
}

/** What a token says. @param {string} token */
const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

module.exports = { Guest, claimsOf };
