'use strict';

// Calls the package in a process of its own. Sends errors as their fields, with all texts that could show a secret.

const { inspect } = require('node:util');
const { createPlatform, isMediaError } = require('../../../index.js');

/** @type {import('../../../index.js').MediaService | undefined} */
let media;
/** @type {unknown} */
let last;

/** @param {any} error */
function describe(error) {
  const { code, operation, retryable, upstreamStatus, requestId } = error;
  return { code, operation, retryable, upstreamStatus, requestId, isMediaError: isMediaError(error), shown: shown(error) };
}

/** All texts that a log can get from an error. @param {any} error */
function shown(error) {
  return [error.message, error.stack, String(error), inspect(error, { depth: 9, showHidden: true }), JSON.stringify(error)].join('\n');
}

/** @type {Record<string, (message: any) => Promise<unknown>>} */
const methods = {
  async open({ options }) {
    ({ media } = createPlatform(options));
  },
  async run({ name, args, abortAfterMs }) {
    if (abortAfterMs !== undefined) args.push({ ...args.pop(), signal: AbortSignal.timeout(abortAfterMs) });
    const started = performance.now();
    const outcome = await /** @type {any} */ (media)[name](...args).then(
      (/** @type {unknown} */ value) => ({ value }),
      (/** @type {unknown} */ error) => ({ error: describe(error) }),
    );
    last = 'value' in outcome ? outcome.value : undefined;
    return { ...outcome, ms: performance.now() - started };
  },
  /** The last value after serialization by SvelteKit and by React Router. Both serializers are ES modules. */
  async serialize() {
    const [devalue, turbo] = await Promise.all([import('devalue'), import('turbo-stream')]);
    const decoded = await turbo.decode(turbo.encode(last));
    await decoded.done;
    return [devalue.parse(devalue.stringify(last)), decoded.value];
  },
};

process.on('message', async (/** @type {any} */ { call, method, ...details }) => {
  try {
    process.send?.({ call, value: await methods[method](details) });
  } catch (error) {
    process.send?.({ call, error: String(error) });
  }
});

// The parent has exited.
process.on('disconnect', () => process.exit());

process.send?.({ ready: true });
