'use strict';

// An HTTP client that keeps cookies and submits the sign-in form.

class HttpClient {
  #cookies = new Map();

  /** @param {string} url URL of the app. @param {string} [origin] Origin in the browser, which differs behind a proxy. */
  constructor(url, origin = url) {
    Object.assign(this, { url, origin });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ form?: Record<string, string>, headers?: Record<string, string>, signal?: AbortSignal }} [how]
   */
  async request(method, path, { form, headers, signal } = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    // Browsers send Origin with all requests but GET; the apps check it.
    const origin = method !== 'GET' && { origin: this.origin };
    /** @type {RequestInit} */
    const options = { method, redirect: 'manual', headers: { ...(cookie && { cookie }), ...origin, ...headers }, signal };
    if (form) options.body = new URLSearchParams(form);
    const response = await fetch(new URL(path, this.url), options);
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  #keep(line) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value === '' || /max-age=0/i.test(line)) this.#cookies.delete(name);
    else this.#cookies.set(name, value);
  }

  /** Its cookies, as `name=value`. */
  get cookies() {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`);
  }

  /** Changes the values of all cookies. @param {(value: string) => string} change */
  changeCookies(change) {
    for (const [name, value] of this.#cookies) this.#cookies.set(name, change(value));
  }

  /** @param {string} path @param {Record<string, string>} [form] */
  post(path, form = {}) {
    return this.request('POST', path, { form });
  }

  /** @param {string} path */
  get(path) {
    return this.request('GET', path, { headers: { accept: 'text/html' } });
  }

  /** Submits the form of the lobby, as a browser without scripts does; gives the response. @param {string} name @param {string} [path] */
  async signIn(name, path = '/') {
    const page = await (await this.get(path)).text();
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
    // If the action is only a query, it is relative to the page's path.
    const target = new URL(action, new URL(path, this.url));
    return this.request('POST', target.pathname + target.search, { form: fields, headers: { accept: 'text/html' } });
  }
}

/** @param {string} token */
const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

module.exports = { HttpClient, claimsOf };
