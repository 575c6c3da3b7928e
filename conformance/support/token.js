'use strict';

const { createHmac } = require('node:crypto');

/**
 * @typedef {object} Token Contents of a token; the rest is as a LiveKit SDK writes it.
 * @property {object} [video] The grants.
 * @property {Record<string, any>} [claims] In place of the defaults; `undefined` removes one.
 * @property {number} [expiresIn] Seconds from now; default 600.
 * @property {number} [notBeforeIn] Seconds from now; default: none.
 * @property {object} [header] Default: that of HS256.
 * @property {string} [key] Default: the server's.
 * @property {string} [secret] Default: the server's.
 * @property {(claims: string) => string} [rewrite] Changes the JSON of the claims before it is signed.
 * @property {(token: string) => string} [spoil] Changes the finished token.
 */

/** @type {Record<string, string>} */
const HASHES = { HS384: 'sha384', HS512: 'sha512' };

/** @param {string} text */
const unchanged = (text) => text;

/** @param {string} text */
const base64url = (text) => Buffer.from(text).toString('base64url');

/**
 * @param {{ apiKey: string, apiSecret: string }} server
 * @param {Token} token
 */
function mint({ apiKey, apiSecret }, token) {
  const { video, claims, expiresIn = 600, notBeforeIn, key = apiKey, secret = apiSecret } = token;
  const { header = { alg: 'HS256', typ: 'JWT' }, rewrite = unchanged, spoil = unchanged } = token;
  const now = Math.floor(Date.now() / 1000);
  const nbf = notBeforeIn === undefined ? undefined : now + notBeforeIn;
  const payload = JSON.stringify({ iss: key, sub: 'ann', exp: now + expiresIn, nbf, video, ...claims });
  const signed = [JSON.stringify(header), rewrite(payload)].map(base64url).join('.');
  return spoil(`${signed}.${sign(/** @type {any} */ (header).alg, signed, secret)}`);
}

/** @param {string} algorithm @param {string} signed @param {string} secret */
function sign(algorithm, signed, secret) {
  if (algorithm === 'none') return '';
  return createHmac(HASHES[algorithm] ?? 'sha256', secret)
    .update(signed)
    .digest('base64url');
}

module.exports = { base64url, mint };
