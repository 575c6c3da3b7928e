'use strict';

// A registered symbol, so that an error of another copy of this package is known as one too.
const BRAND = Symbol.for('@maravilla-labs/platform.MediaError');

class MediaError extends Error {
  constructor(code, message, details) {
    // Without a prototype, so that no detail is read from a polluted Object.prototype.
    const own = { __proto__: null, ...details };
    const { operation = '', retryable = false, upstreamStatus, requestId } = own;
    super(message, 'cause' in own ? { cause: own.cause } : undefined);
    this.code = code;
    this.operation = operation;
    this.retryable = retryable;
    if (upstreamStatus !== undefined) this.upstreamStatus = upstreamStatus;
    if (requestId !== undefined) this.requestId = requestId;
  }
}
Object.defineProperties(MediaError.prototype, {
  name: { value: 'MediaError', writable: true, configurable: true },
  [BRAND]: { value: true },
});

function isMediaError(value) {
  return typeof value === 'object' && value !== null && value[BRAND] === true;
}

module.exports = { MediaError, isMediaError };
