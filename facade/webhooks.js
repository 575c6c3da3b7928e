'use strict';

// Reads the requests of webhooks: the raw body and the header `Authorization`.

const { aborted, describe, invalid, isRecord, readText } = require('./arguments.js');
const { MediaError } = require('./errors.js');
const { readProperty } = require('./properties.js');

/** Maximum size of a body in bytes, as of LiveKit's own requests. A larger one is LIMIT_EXCEEDED, and the rest is not read. */
const MAX_BODY_BYTES = 10 * 1024 * 1024;

const RAW_BODY =
  "pass the raw body: in Express by express.raw({ type: 'application/webhook+json' }), in Fastify by " +
  "addContentTypeParser('application/webhook+json', { parseAs: 'buffer' }, (request, body, done) => done(null, body)), in a Next.js API route with " +
  'bodyParser: false, else by await request.text()';

/**
 * Body and token of a webhook's request: a Fetch `Request`, of any realm, or `{ body, authorization }`. `limits`: signal and time for
 * reading a Fetch body.
 */
async function readWebhook(operation, request, limits) {
  if (!isRecord(request)) throw invalid(operation, 'request', `expected a Request or { body, authorization }, got ${describe(request)}`);
  try {
    return await (isFetchRequest(request) ? readRequest(operation, request, limits) : readFieldsOf(operation, request));
  } catch (error) {
    // Such as that of a locked body, or of a getter of the caller.
    throw error instanceof MediaError ? error : invalid(operation, 'request', 'could not be read', error);
  }
}

/** Body and token of `{ body, authorization }`. */
function readFieldsOf(operation, request) {
  const headers = readProperty(request, 'headers');
  const authorization = readProperty(request, 'authorization') ?? undefined;
  // Such as Express's request, whose headers nobody would look at.
  if (authorization === undefined && headers !== undefined) {
    throw invalid(operation, 'request', 'expected a Request or { body, authorization }: pass { body: request.body, authorization: request.headers.authorization }');
  }
  if (authorization !== undefined) readText(operation, 'request.authorization', authorization);
  return { body: checkSize(operation, readBody(operation, readProperty(request, 'body'))), authorization };
}

function isFetchRequest(request) {
  return typeof request.headers?.get === 'function' && typeof request.arrayBuffer === 'function';
}

function readBody(operation, body) {
  if (typeof body === 'string') return body;
  if (require('node:util').types.isUint8Array(body)) return body;
  const isParsed = isRecord(body) || Array.isArray(body);
  throw invalid(operation, 'request.body', `expected a string or a Uint8Array, got ${describe(body)}${isParsed ? ', which looks parsed' : ''}: ${RAW_BODY}`);
}

function checkSize(operation, body) {
  const size = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
  if (size > MAX_BODY_BYTES) throw tooLarge(operation);
  return body;
}

const tooLarge = (operation) => new MediaError('LIMIT_EXCEEDED', `the webhook's body has more than ${MAX_BODY_BYTES} bytes`, { operation });

async function readRequest(operation, request, { signal, timeoutMs }) {
  const authorization = request.headers.get('authorization') ?? undefined;
  if (request.bodyUsed) throw invalid(operation, 'request', `its body has been read: ${RAW_BODY.replace('pass the raw body', 'do not read it before, or pass { body, authorization } with the raw body')}`);
  // Without a token the core rejects it, so that the body need not be received.
  if (!request.body || !authorization) return { body: '', authorization };
  const reader = request.body.getReader();
  let end = (_) => {};
  const ended = new Promise((_, reject) => (end = reject));
  ended.catch(() => {});
  const timer = setTimeout(() => end(new MediaError('TIMEOUT', `the body has not arrived within ${timeoutMs} ms`, { operation, retryable: true })), timeoutMs);
  const onAbort = () => end(aborted(operation, signal));
  signal?.addEventListener('abort', onAbort);
  try {
    return { body: await readAll(operation, reader, ended), authorization };
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error instanceof MediaError ? error : invalid(operation, 'request', 'its body could not be read', error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

async function readAll(operation, reader, ended) {
  const chunks = [];
  let size = 0;
  for (;;) {
    const { done, value } = await Promise.race([reader.read(), ended]);
    if (done) return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    size += value.byteLength;
    if (size > MAX_BODY_BYTES) throw tooLarge(operation);
    chunks.push(value);
  }
}

module.exports = { readWebhook };
