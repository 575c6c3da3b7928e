'use strict';

// Diagnostics: publishes each call of `media` on the tracing channel `maravilla:media`.

const { tracingChannel } = require('node:diagnostics_channel');

const channel = tracingChannel('maravilla:media');

/** Methods that send no request. */
const LOCAL = new Set(['attach', 'generateToken', 'mediaUrl', 'receiveWebhook', 'signWebhook']);
/** Methods whose first argument is no room. A string there may be a secret, such as the body of a webhook. */
const WITHOUT_ROOM = new Set(['attach', 'listRooms', 'mediaUrl', 'receiveWebhook', 'signWebhook']);

/**
 * Wraps methods that return promises. While the channel has no subscribers, a call costs one check more.
 * @template {object} Methods
 * @param {Methods} media
 * @returns {Methods}
 */
function traceMethods(media, config) {
  const facts = { provider: config.provider, serverAddress: addressOf(config.apiUrl) };
  const traced = /** @type {any} */ ({});
  for (const [operation, method] of Object.entries(media)) {
    // No method has more parameters. Rest parameters take twice the time.
    traced[operation] = (a, b, c, d, e) => (channel.hasSubscribers ? trace(operation, facts, method, [a, b, c, d, e]) : method(a, b, c, d, e));
  }
  return traced;
}

/** Host and port of a URL; `undefined` without one. */
function addressOf(url) {
  if (!url) return undefined;
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
}

/**
 * Publishes the events of `tracePromise`, except that no message has a `result`: that of `generateToken` contains a token.
 * Async instead of then(), so that the stack of an error names the caller's line.
 */
function trace(operation, { provider, serverAddress }, method, args) {
  /** @type {import('../index.js').MediaTraceMessage} */
  const message = { operation, provider, ...subjectOf(operation, args) };
  if (serverAddress !== undefined && !LOCAL.has(operation)) message.serverAddress = serverAddress;
  const { start, end, asyncStart, asyncEnd, error } = channel;
  const settle = async () => {
    try {
      return await method(...args);
    } catch (failure) {
      message.error = failure;
      if (failure.requestId !== undefined) message.requestId = failure.requestId;
      error.publish(message);
      throw failure;
    } finally {
      asyncStart.publish(message);
      asyncEnd.publish(message);
    }
  };
  return start.runStores(message, () => {
    const outcome = settle();
    end.publish(message);
    return outcome;
  });
}

/** The room and the participant of a call. Methods with a room have its name as first argument. */
function subjectOf(operation, [roomId, second]) {
  if (typeof roomId !== 'string' || WITHOUT_ROOM.has(operation)) return {};
  const identity = operation === 'generateToken' ? identityOf(second) : operation.endsWith('Participant') ? second : undefined;
  return typeof identity === 'string' ? { roomId, identity } : { roomId };
}

function identityOf(participant) {
  try {
    return participant?.identity;
  } catch {
    // The caller's getter throws, which the method reports.
    return undefined;
  }
}

module.exports = { traceMethods };
