// How long participants wait: for a bare WebSocket to be told of its room, and in calls in Chromium; by turns on each server.
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import browsers from '../../test-support/browser.js';
import signalling from '../../conformance/support/signalling.js';
import tokens from '../../conformance/support/token.js';
import { medians } from '../measure.mjs';

const script = fileURLToPath(new URL('page.js', import.meta.url));
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 11);
const MOST_MS = 60_000;
const JOINS = 200;
const PAUSE_MS = 5;

/**
 * Medians, in ms, of joins by signalling alone: until the WebSocket is there, and from then to the join response. In a browser
 * its own share would be most of it.
 * @template {string} Name
 * @param {Record<Name, { url: string, apiKey: string, apiSecret: string }>} servers
 * @returns {Promise<Record<Name, Record<'asked' | 'joined', number>>>}
 */
export async function joins(servers) {
  const results = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
  for (let count = -JOINS / 10; count < JOINS; count += 1) {
    for (const [name, server] of Object.entries(servers)) {
      const result = await join(server);
      if (count >= 0) results[name].push(result);
      await pause(PAUSE_MS);
    }
  }
  return Object.fromEntries(Object.entries(results).map(([name, all]) => [name, medians(all)]));
}

async function join(server) {
  const token = tokens.mint(server, { video: { roomJoin: true, room: `bench-${randomUUID()}` }, claims: { sub: 'ann' } });
  const begun = performance.now();
  const socket = new WebSocket(signalling.addressOf(server.url, { token }));
  // Both may come in one piece.
  let opened;
  socket.once('upgrade', () => (opened = performance.now()));
  const told = await new Promise((resolve, reject) => {
    socket.once('message', () => resolve(performance.now()));
    socket.once('error', reject);
  });
  socket.close();
  return { asked: opened - begun, joined: told - opened };
}

/**
 * Medians, in ms, of what {@link file://./page.js} measures.
 * @template {string} Name
 * @param {Record<Name, { url: string, apiKey: string, apiSecret: string }>} servers
 * @returns {Promise<Record<Name, Record<'connected' | 'published' | 'late' | 'data', number>>>}
 */
export async function timings(servers) {
  const [page, browser] = [await browsers.servePage(), await browsers.launch('chromium')];
  try {
    const results = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
    // The first round wakes everything up and is not counted.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const [name, server] of Object.entries(servers)) {
        const result = await call(browser, page.url, server);
        if (round > 0) results[name].push(result);
      }
    }
    return Object.fromEntries(Object.entries(results).map(([name, all]) => [name, medians(all)]));
  } finally {
    await browser.close();
    await page.close();
  }
}

/** Each call has a window of its own, so that nothing is left of the last one. */
async function call(browser, address, server) {
  const context = await browser.createBrowserContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(MOST_MS);
    await page.goto(address);
    await page.addScriptTag({ path: script });
    const room = `bench-${randomUUID()}`;
    const token = (sub) => tokens.mint(server, { video: { roomJoin: true, room }, claims: { sub } });
    const called = page.evaluate((url, all) => window.call(url, all), server.url, ['ann', 'ben', 'cleo'].map(token));
    return await Promise.race([called, tooLong()]);
  } finally {
    await context.close();
  }
}

function tooLong() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`a call in Chromium took more than ${MOST_MS / 1000} s`)), MOST_MS).unref();
  });
}
