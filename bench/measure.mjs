// Rounds, medians and formatting.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const here = path.dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);

/** Number of rooms that `listRooms` lists. */
export const ROOMS = 10_000;

/**
 * Runs a script for each contender in turn, each time in a new process. Returns the medians of each contender's results.
 * @param {string} script
 * @param {Record<string, { peer: string, server?: object }>} contenders By name: the implementation, and the server it calls.
 */
export async function contest(script, contenders, { rounds = ROUNDS, args = [] } = {}) {
  const results = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, { peer, server = {} }] of Object.entries(contenders)) {
      const env = { ...process.env, BENCH_SERVER: JSON.stringify(server) };
      const { stdout } = await run(process.execPath, ['--expose-gc', path.join(here, script), ...args, peer], { env });
      results[name].push(JSON.parse(stdout));
    }
  }
  return Object.fromEntries(Object.entries(results).map(([name, all]) => [name, medians(all)]));
}

/** Runs a script for each peer on the same server. */
export function measure(script, peers, server, options) {
  return contest(script, Object.fromEntries(peers.map((peer) => [peer, { peer, server }])), options);
}

/** The median of each figure. @param {Record<string, number>[]} results @returns {Record<string, number>} */
export function medians(results) {
  const median = (key) => results.map((result) => result[key]).sort((a, b) => a - b)[Math.floor(results.length / 2)];
  return Object.fromEntries(Object.keys(results[0]).map((key) => [key, median(key)]));
}

export const us = (value) => `${value.toFixed(1)} µs`;
export const ms = (value) => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
export const mb = (value) => `${value.toFixed(1)} MB`;
export const rate = (value) => `${value.toFixed(0)}/s`;
export const times = (a, b) => `${(a / b).toFixed(2)}x`;

/** A Markdown table. Each row is printed when it is added, with the target of its figure, which the table itself leaves out. */
export class Table {
  #rows = [];
  #columns;

  /** @param {string[]} header */
  constructor(header) {
    this.#columns = header.length;
    this.row(...header, 'target');
    this.row(...header.map(() => '---'), '---');
  }

  /** @param {...(string | number)} cells One for each column, then the target. */
  row(...cells) {
    const line = (cells) => `| ${cells.join(' | ')} |`;
    this.#rows.push(line(cells.slice(0, this.#columns)));
    console.log(line(cells));
  }

  toString() {
    return this.#rows.join('\n');
  }
}
