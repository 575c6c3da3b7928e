'use strict';

// Finds keys that nearly match a known name. The cost is linear in the keys' length, because a caller may spread a request's body.
// Code that runs for each key uses no globals: under jest, looking one up takes longer than all the rest.

/** Maximum letters of a key that is compared: the longest name has 20, and two more may be inserted. */
const MAX_LETTERS = 22;
/** The letters of the current key. Reused, because no code of the caller runs in between. */
const letters = new Uint16Array(MAX_LETTERS);

const UNDERSCORE = 95;
const HYPHEN = 45;

/** For each table of names, the prepared data that keys are compared with. */
const prepared = new WeakMap();

function prepare(maxEdits) {
  const names = Object.entries(maxEdits).map(([name, edits]) => {
    const length = readLetters(name);
    return { name, edits, letters: letters.slice(0, length), alphabet: alphabetOf(letters, length) };
  });
  prepared.set(maxEdits, names);
  return names;
}

/**
 * The name nearest to `key`, ignoring letter case, `_` and `-`; `undefined` if none is near enough.
 * @param {string} key
 * @param {Record<string, number>} maxEdits for each name, the maximum edit distance of a misspelling
 */
function findMisspelt(key, maxEdits) {
  const names = prepared.get(maxEdits) ?? prepare(maxEdits);
  const length = readLetters(key);
  if (length === 0) return undefined;
  const alphabet = alphabetOf(letters, length);
  let nearest;
  let fewest = MAX_LETTERS;
  for (const each of names) {
    const limit = each.edits < fewest ? each.edits : fewest - 1;
    if (limit < 0 || countExceeds(each.alphabet & ~alphabet, limit) || !isNear(each, length, limit)) continue;
    nearest = each.name;
    fewest = 0;
    while (!isNear(each, length, fewest)) fewest += 1;
  }
  return nearest;
}

const isNear = (each, length, edits) => isWithin(edits, letters, 0, length, each.letters, 0, each.letters.length);

/** Writes the key's letters, in lower case, into `letters`; returns their number, or 0 for a key that is too long. */
function readLetters(key) {
  let count = 0;
  for (let i = 0; i < key.length; i += 1) {
    const code = key.charCodeAt(i);
    if (code === UNDERSCORE || code === HYPHEN) continue;
    if (count === MAX_LETTERS) return 0;
    letters[count] = code >= 65 && code <= 90 ? code + 32 : code;
    count += 1;
  }
  return count;
}

/** The set of letters a to z that occur, one bit each. An edit adds at most one letter: a name with more new letters than edits is too far away. */
function alphabetOf(codes, length) {
  let bits = 0;
  for (let i = 0; i < length; i += 1) {
    const index = codes[i] - 97;
    if (index >= 0 && index < 26) bits |= 1 << index;
  }
  return bits;
}

/** Whether more than `limit` bits are set. */
function countExceeds(bits, limit) {
  let rest = bits;
  for (let count = 0; count <= limit; count += 1) {
    if (rest === 0) return false;
    rest &= rest - 1;
  }
  return true;
}

/** Whether at most `edits` insertions, deletions and substitutions turn `a[i..n]` into `b[j..m]`. */
function isWithin(edits, a, i, n, b, j, m) {
  const longer = n - i - (m - j);
  if (longer > edits || -longer > edits) return false;
  while (i < n && j < m && a[i] === b[j]) {
    i += 1;
    j += 1;
  }
  if (i === n) return m - j <= edits;
  if (j === m) return n - i <= edits;
  if (edits === 0) return false;
  return (
    isWithin(edits - 1, a, i + 1, n, b, j + 1, m) || isWithin(edits - 1, a, i + 1, n, b, j, m) || isWithin(edits - 1, a, i, n, b, j + 1, m)
  );
}

module.exports = { findMisspelt };
