'use strict';

const { createHmac, timingSafeEqual } = require('node:crypto');

/**
 * Header and claims of a JWT. With a secret, its HS256 signature is verified.
 * @param {string} token
 * @param {string} [secret]
 */
function readToken(token, secret) {
  const [head, body, signature, ...rest] = token.split('.');
  if (signature === undefined || rest.length > 0) throw new Error('a token has three parts');
  const header = JSON.parse(Buffer.from(head, 'base64url').toString());
  if (secret !== undefined) {
    const expected = createHmac('sha256', secret).update(`${head}.${body}`).digest();
    const given = Buffer.from(signature, 'base64url');
    if (header.alg !== 'HS256') throw new Error(`signed with ${header.alg}`);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('signed with another secret');
  }
  return { header, claims: JSON.parse(Buffer.from(body, 'base64url').toString()) };
}

module.exports = { readToken };
