// Latency of joins over a bare WebSocket, and of calls in Chromium. The servers take turns.
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
/** Timeout of a call in ms. */
const CALL_TIMEOUT_MS = 60_000;
/** Joins per server that are measured. */
const JOINS = 200;
const PAUSE_MS = 5;

/**
 * Median durations in ms of joins without a browser, whose own time would dominate: until the WebSocket is open, and from then to the
 * `JoinResponse`.
 * @template {string} Name
 * @param {Record<Name, { url: string, apiKey: string, apiSecret: string }>} servers
 * @returns {Promise<Record<Name, Record<'opened' | 'joined', number>>>}
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
  // Both events may be emitted for one chunk.
  let opened;
  socket.once('upgrade', () => (opened = performance.now()));
  const joined = await new Promise((resolve, reject) => {
    socket.once('message', () => resolve(performance.now()));
    socket.once('error', reject);
  });
  socket.close();
  return { opened: opened - begun, joined: joined - opened };
}

/**
 * Medians of the latencies that {@link file://./page.js} measures, in ms.
 * @template {string} Name
 * @param {Record<Name, { url: string, apiKey: string, apiSecret: string }>} servers
 * @returns {Promise<Record<Name, Record<'connected' | 'published' | 'late' | 'data', number>>>}
 */
export async function timings(servers) {
  const [page, browser] = [await browsers.servePage(), await browsers.launch('chromium')];
  try {
    const results = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
    // The first round is a warm-up.
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

/** Each call has a browser context of its own, so that calls do not affect each other. */
async function call(browser, address, server) {
  const context = await browser.createBrowserContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(CALL_TIMEOUT_MS);
    await page.goto(address);
    await page.addScriptTag({ path: script });
    const room = `bench-${randomUUID()}`;
    const token = (sub) => tokens.mint(server, { video: { roomJoin: true, room }, claims: { sub } });
    const called = page.evaluate((url, all) => window.call(url, all), server.url, ['ann', 'ben', 'cleo'].map(token));
    return await Promise.race([called, rejectAtTimeout()]);
  } finally {
    await context.close();
  }
}

function rejectAtTimeout() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`a call in Chromium took more than ${CALL_TIMEOUT_MS / 1000} s`)), CALL_TIMEOUT_MS).unref();
  });
}
