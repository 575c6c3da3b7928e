// npm run screenshots: docs/lobby.webp and docs/call.webp, of the React Router app with four people in a call.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import browser from '../conformance/support/browser.js';
import waiting from '../conformance/support/eventually.js';
import { buildExample, startExample } from './examples.mjs';
import drawing from './portraits.js';
import { ensurePrograms } from './setup.mjs';
import { Stop, isMain, report, root, say } from './shell.mjs';

const SCREEN = { width: 1280, height: 800, deviceScaleFactor: 2 };
const QUALITY = 82;
const MOST_BYTES = 250_000;
const [WIDTH, HEIGHT, FPS, FRAMES] = [1280, 720, 8, 16];
const WAIT_MS = 30_000;
const HUDDLE = 'design-review';
/** Whoever talks; the others say nothing, so that one tile is marked. */
const SPEAKER = 'Noor';
const CHAT = [
  ['Mateo', 'The new lobby is up, have a look'],
  ['Noor', 'Love the calm colours'],
  ['Jonas', 'Shipping it after lunch?'],
  ['Ada', 'Yes, right after this call'],
];
const names = Object.keys(drawing.portraits);

/** Pictures as a camera file that Chromium takes for a camera. @param {import('puppeteer-core').Page} page @param {string} name @param {string} file */
async function film(page, name, file) {
  const parts = [Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F${FPS}:1 Ip A1:1 C420jpeg\n`)];
  for (let turn = 0; turn < FRAMES; turn += 1) {
    const breath = Math.sin((2 * Math.PI * turn) / FRAMES);
    const frame = await page.evaluate(`(${toI420})((${drawing.draw})(${JSON.stringify(drawing.portraits[name])}, ${WIDTH}, ${HEIGHT}, ${breath}), ${WIDTH}, ${HEIGHT})`);
    parts.push(Buffer.from('FRAME\n'), Buffer.from(/** @type {string} */ (frame), 'base64'));
  }
  writeFileSync(file, Buffer.concat(parts));
}

/** In the page: brightness of every pixel, colours of every fourth, as base64. BT.601, as Chromium reads it. */
function toI420(pixels, width, height) {
  const planes = new Uint8Array((width * height * 3) / 2);
  const [u, v] = [width * height, (width * height * 5) / 4];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 4;
      const [r, g, b] = [pixels[at], pixels[at + 1], pixels[at + 2]];
      planes[y * width + x] = 16 + (65.7 * r + 129.1 * g + 25.1 * b) / 256;
      if (x % 2 || y % 2) continue;
      const half = (y / 2) * (width / 2) + x / 2;
      planes[u + half] = 128 + (-37.9 * r - 74.5 * g + 112.4 * b) / 256;
      planes[v + half] = 128 + (112.4 * r - 94.2 * g - 18.3 * b) / 256;
    }
  }
  let text = '';
  for (let at = 0; at < planes.length; at += 8192) text += String.fromCharCode(...planes.subarray(at, at + 8192));
  return btoa(text);
}

/** A voice of a kind, or a second of nothing, as a microphone file. @param {string} file @param {boolean} isSpeaking */
function record(file, isSpeaking) {
  const [rate, bytes] = [48_000, 96_000];
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + bytes, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(bytes, 40);
  const samples = new Int16Array(bytes / 2);
  if (isSpeaking) {
    // Ten harmonics that swell four times a second: noise suppression lets pass what swells.
    for (let at = 0; at < samples.length; at += 1) {
      const seconds = at / rate;
      let wave = 0;
      for (let harmonic = 1; harmonic <= 10; harmonic += 1) wave += Math.sin(2 * Math.PI * 160 * harmonic * seconds) / harmonic;
      samples[at] = 9000 * wave * (0.55 - 0.45 * Math.cos(2 * Math.PI * 4 * seconds));
    }
  }
  writeFileSync(file, Buffer.concat([header, Buffer.from(samples.buffer)]));
}

const find = (page, role, name) => page.locator(`::-p-aria([name="${name}"][role="${role}"])`).setTimeout(WAIT_MS);

/** Signs somebody in, in a window of their own. */
async function arrive(chromium, url, name) {
  const page = await (await chromium.createBrowserContext()).newPage();
  await page.setViewport(SCREEN);
  await page.goto(url);
  await find(page, 'textbox', 'Your name').fill(name);
  await find(page, 'button', 'Continue').click();
  await find(page, 'textbox', 'Huddle name').wait();
  return page;
}

/** @param {string} what @param {import('puppeteer-core').Page} page @param {() => boolean} isSo In the page. */
const until = (what, page, isSo, ...args) =>
  waiting.eventually(what, () => page.evaluate(isSo, ...args), (so) => {
    if (!so) throw new Error(`not: ${what}`);
  }, { within: WAIT_MS });

async function shoot(page, file) {
  await page.screenshot({ path: file, type: 'webp', quality: QUALITY });
  const { size } = statSync(file);
  if (size > MOST_BYTES) throw new Stop(`${file} has ${size} bytes`);
  say(`${path.relative(root, file)}: ${Math.round(size / 1000)} kB`);
}

async function takePictures(work, app, browsers) {
  const open = async (more) => {
    const chromium = await browser.launch('chromium', more);
    browsers.push(chromium);
    return chromium;
  };
  say('drawing who is in the call');
  const sounds = { voice: path.join(work, 'voice.wav'), silence: path.join(work, 'silence.wav') };
  record(sounds.voice, true);
  record(sounds.silence, false);
  const studio = await open([]);
  const easel = await studio.newPage();
  for (const name of names) await film(easel, name, path.join(work, `${name}.y4m`));

  say('joining');
  const pages = {};
  for (const name of names) {
    const chromium = await open([
      `--use-file-for-fake-video-capture=${path.join(work, `${name}.y4m`)}`,
      `--use-file-for-fake-audio-capture=${name === SPEAKER ? sounds.voice : sounds.silence}`,
    ]);
    pages[name] = await arrive(chromium, app.url, name);
    await pages[name].goto(`${app.url}/huddles/${HUDDLE}`);
    await find(pages[name], 'button', 'Leave').wait();
  }
  // Two more are elsewhere, so that the lobby has a list.
  for (const name of ['Lena', 'Tomás']) {
    const page = await arrive(studio, app.url, name);
    await page.goto(`${app.url}/huddles/coffee?listen`);
    await find(page, 'button', 'Leave').wait();
  }

  const { Ada: ada } = pages;
  for (const [name, text] of CHAT) {
    const page = pages[name];
    if (!(await page.$('::-p-aria([name="Message"][role="textbox"])'))) await find(page, 'button', 'Chat').click();
    await find(page, 'textbox', 'Message').fill(text);
    await find(page, 'button', 'Send').click();
    await until(`Ada reads ${text}`, ada, (text) => document.body.textContent?.includes(text), text);
  }
  await find(pages.Jonas, 'button', 'Mute').click();
  await ada.bringToFront();
  await until('everybody is to be seen, and sharp', ada, () => {
    const videos = [...document.querySelectorAll('ul[aria-label="People"] video')];
    return videos.length === 4 && videos.every(({ videoWidth }) => videoWidth >= 640);
  });
  await until('the speaker is marked', ada, (speaker) => {
    const tile = document.querySelector(`ul[aria-label="People"] > li[aria-label="${speaker}"]`);
    return tile?.matches('[data-speaking]') ?? false;
  }, SPEAKER);
  await ada.evaluate(() => document.activeElement?.blur());
  await shoot(ada, path.join(root, 'docs/call.webp'));

  const guest = await arrive(studio, app.url, 'Robin');
  await until('the lobby lists both', guest, () => document.querySelectorAll('h3').length === 2);
  await guest.evaluate(() => document.activeElement?.blur());
  await shoot(guest, path.join(root, 'docs/lobby.webp'));
}

if (isMain(import.meta.url)) {
  const work = mkdtempSync(path.join(os.tmpdir(), 'screenshots-'));
  const browsers = [];
  let app;
  try {
    await ensurePrograms();
    await buildExample('react-router');
    const env = { SESSION_SECRET: 'the pictures are taken with this', MARAVILLA_MEDIA_PROVIDER: 'embedded', MARAVILLA_MEDIA_PORT: '0' };
    app = await startExample('react-router', { env });
    await takePictures(work, app, browsers);
  } catch (error) {
    process.exitCode = report(error);
  } finally {
    await Promise.all(browsers.map((each) => each.close()));
    await app?.stop();
    rmSync(work, { recursive: true, force: true });
  }
}
