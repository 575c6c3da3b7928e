// Prepares the apps of __test__/frameworks with the packed tarballs installed. They are outside the repository, because frameworks treat the
// topmost folder with a lock file as the app's root. Run directly, it prints the folders as JSON.
import { cpSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ensureInstalled, ensureTarballs } from './examples.mjs';
import { NEWER_NODE, ensureNode, environmentOf } from './newer-node.mjs';
import { main, root } from '../scripts/shell.mjs';

const sources = path.join(root, '__test__/frameworks');
const apps = path.join(os.tmpdir(), 'maravilla-frameworks');

/** @returns {Promise<{ node: string, tarballs: string[], folders: Record<string, string> }>} `node`: a Node.js that is new enough for Nuxt, Astro and TanStack Start. */
export async function ensureFrameworks() {
  const node = await ensureNode(NEWER_NODE);
  const folders = {};
  for (const name of readdirSync(sources).filter((name) => statSync(path.join(sources, name)).isDirectory())) {
    const folder = path.join(apps, name);
    mkdirSync(folder, { recursive: true });
    cpSync(path.join(sources, name), folder, { recursive: true });
    await ensureInstalled(folder, `the app for ${name}`, environmentOf(node));
    folders[name] = folder;
  }
  return { node, tarballs: await ensureTarballs(), folders };
}

await main(import.meta.url, async () => console.log(JSON.stringify(await ensureFrameworks())));
