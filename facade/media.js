'use strict';

const { invalid, readCallOptions, readParticipant, readSettings, readText, SOURCES } = require('./arguments.js');
const { MediaError } = require('./errors.js');
const { readNetwork } = require('./network.js');

/** The media service over the native core. Closures, so that its methods work when taken off the object. */
function createMedia(binding, operation, config) {
  const isEmbedded = config.provider === 'embedded';
  const provider = open(binding, operation, config);
  // The embedded engine knows its port only once it runs; the first call that needs the URL starts it.
  let url = isEmbedded ? undefined : (config.url ?? null);
  const pending = new Set();
  // The engine is in this process: no proxy and no certificate is on the way to it.
  let networkRead = isEmbedded;
  let ending;
  let portChecked = !isEmbedded || !config.shared || config.port !== undefined;

  function urlNow(operation) {
    if (url === undefined) {
      url = askUrl(binding, operation, provider);
      if (!portChecked) checkPort();
    }
    return url;
  }

  function checkPort() {
    const port = binding.enginePort(provider);
    if (port === null) return;
    portChecked = true;
    require('./default-port.js').checkDefaultPort(port, config.host);
  }

  /**
   * Runs a call: gives its outcome, or a promise where it has to wait. `start` gets the call's budget and, with a signal,
   * the id under which it can be cancelled.
   */
  function run(operation, options, start) {
    const { signal, timeoutMs } = readCallOptions(operation, options);
    let forget;
    try {
      if (!networkRead) {
        binding.configureNetwork(readNetwork(config.apiUrl));
        networkRead = true;
      }
      const call = signal === undefined ? undefined : binding.newCall();
      forget = signal && onAbort(operation, signal, () => binding.cancelCall(call));
      const answer = start(timeoutMs, call);
      if (!portChecked) checkPort();
      if (typeof answer === 'object') return waitFor(operation, answer, signal, forget);
      forget?.();
      return typeof answer === 'string' ? JSON.parse(answer) : answer;
    } catch (error) {
      forget?.();
      throw ours(operation, error);
    }
  }

  async function waitFor(operation, answer, signal, forget) {
    let end = (_) => {};
    const ended = new Promise((resolve) => (end = resolve));
    pending.add(ended);
    try {
      return JSON.parse(unwrap(operation, await answer, signal));
    } catch (error) {
      throw ours(operation, error);
    } finally {
      pending.delete(ended);
      end(undefined);
      forget?.();
    }
  }

  const media = {
    async createRoom(roomId, settings, options) {
      const operation = 'createRoom';
      readText(operation, 'roomId', roomId);
      const { maxParticipants, emptyTimeoutSecs, departureTimeoutSecs, metadata } = readSettings(operation, 'settings', settings) ?? NO_SETTINGS;
      const fields = run(operation, options, (timeoutMs, call) =>
        binding.createRoom(provider, roomId, maxParticipants, emptyTimeoutSecs, departureTimeoutSecs, metadata, timeoutMs, call),
      );
      // The time of creation of an empty room that has the limit asked for.
      if (typeof fields === 'number') return { name: roomId, numParticipants: 0, maxParticipants: maxParticipants || 0, createdAt: fields, active: true };
      return roomOf(roomId, Array.isArray(fields) ? fields : await fields, 0);
    },
    async deleteRoom(roomId, options) {
      const operation = 'deleteRoom';
      readText(operation, 'roomId', roomId);
      await run(operation, options, (timeoutMs, call) => binding.deleteRoom(provider, roomId, timeoutMs, call));
    },
    async listRooms(options) {
      const [names, fields] = await run('listRooms', options, (timeoutMs, call) => binding.listRooms(provider, timeoutMs, call));
      return names.map((name, i) => roomOf(name, fields, 3 * i));
    },
    async listParticipants(roomId, options) {
      const operation = 'listParticipants';
      readText(operation, 'roomId', roomId);
      return await run(operation, options, (timeoutMs, call) => binding.listParticipants(provider, roomId, timeoutMs, call));
    },
    async removeParticipant(roomId, identity, options) {
      const operation = 'removeParticipant';
      readText(operation, 'roomId', roomId);
      readText(operation, 'identity', identity);
      await run(operation, options, (timeoutMs, call) => binding.removeParticipant(provider, roomId, identity, timeoutMs, call));
    },
    async generateToken(roomId, participant, options) {
      const operation = 'generateToken';
      readText(operation, 'roomId', roomId);
      const wanted = readParticipant(operation, participant);
      if (options !== undefined) checkLocal(operation, options);
      const now = Math.floor(Date.now() / 1000);
      const token = mint(binding, operation, provider, now, roomId, wanted);
      return { token, url: urlNow(operation), expiresAt: (now + (wanted.ttlSecs ?? config.tokenTtlSecs)) * 1000 };
    },
    async mediaUrl(options) {
      const operation = 'mediaUrl';
      if (options !== undefined) checkLocal(operation, options);
      return urlNow(operation);
    },
  };
  /**
   * Resolves once the calls that are under way now have ended, and an engine of its own has as well. On LiveKit,
   * connections belong to the process, and idle ones close by themselves.
   */
  const close = async () => {
    await Promise.all(pending);
    if (!isEmbedded) return;
    url = undefined;
    // Shared: the core tells only the first who closes when the port is free.
    ending ??= endEngine(binding, provider);
    try {
      await ending;
    } catch (error) {
      ending = undefined;
      throw error;
    }
  };
  return { media, close };
}

const NO_SETTINGS = { __proto__: null };

/** The room of that name, with the three fields from `at` on. The server tells of no room that is not open. */
function roomOf(name, fields, at) {
  return { name, numParticipants: fields[at], maxParticipants: fields[at + 1], createdAt: fields[at + 2], active: true };
}

// What to do at each signal's abort. One listener for each signal: Node warns of a leak at the eleventh, and a server may
// use one signal for hundreds of calls.
const cancels = new WeakMap();

/** Calls `cancel` once `signal` aborts, unless the function it gives is called before. Throws if it has aborted. */
function onAbort(operation, signal, cancel) {
  if (isAborted(operation, signal)) throw aborted(operation, signal);
  let waiting = cancels.get(signal);
  if (waiting === undefined) {
    const calls = new Set();
    waiting = { calls, listener: () => calls.forEach((each) => each()) };
    fromSignal(operation, () => signal.addEventListener('abort', waiting.listener));
    cancels.set(signal, waiting);
  }
  const { calls, listener } = waiting;
  calls.add(cancel);
  return () => {
    calls.delete(cancel);
    if (calls.size > 0) return;
    cancels.delete(signal);
    fromSignal(operation, () => signal.removeEventListener('abort', listener));
  };
}

/** Uses a signal, which is the caller's object: where that fails, the argument is wrong. */
function fromSignal(operation, use) {
  try {
    return use();
  } catch (error) {
    throw invalid(operation, 'options.signal', 'cannot be listened to', error);
  }
}

function isAborted(operation, signal) {
  return fromSignal(operation, () => signal.aborted);
}

/** The number of the core's provider for that configuration. */
function open(binding, operation, config) {
  try {
    const provider = config.provider === 'embedded' ? binding.openEmbedded(config) : binding.openLiveKit(config);
    return typeof provider === 'number' ? provider : unwrap(operation, provider);
  } catch (error) {
    throw ours(operation, error);
  }
}

/** Where clients connect to the engine, which runs from now on. */
function askUrl(binding, operation, provider) {
  try {
    return unwrap(operation, binding.mediaUrl(provider));
  } catch (error) {
    throw ours(operation, error);
  }
}

async function endEngine(binding, provider) {
  const operation = 'close';
  try {
    unwrap(operation, await binding.closeProvider(provider));
  } catch (error) {
    throw ours(operation, error);
  }
}

function mint(binding, operation, provider, now, roomId, wanted) {
  try {
    return unwrap(
      operation,
      binding.generateToken(
        provider,
        now,
        roomId,
        wanted.identity,
        permissions(wanted),
        wanted.name,
        wanted.ttlSecs,
        wanted.metadata,
        wanted.attributes,
        wanted.roomSettings,
      ),
    );
  } catch (error) {
    throw ours(operation, error);
  }
}

/** The permissions as the bits that the core reads (`permissions` in `src/values.rs`). */
function permissions({ canPublish, canSubscribe, canPublishData, canUpdateOwnMetadata, hidden, canPublishSources }) {
  let bits =
    (canPublish === false ? 0 : 1) |
    (canSubscribe === false ? 0 : 2) |
    (canPublishData === false ? 0 : 4) |
    (canUpdateOwnMetadata === true ? 8 : 0) |
    (hidden === true ? 16 : 0);
  if (canPublishSources !== undefined) {
    for (const source of canPublishSources) bits |= 32 << SOURCES.indexOf(source);
  }
  return bits;
}

/** A local call has nothing to wait for; its options are checked all the same. */
function checkLocal(operation, options) {
  const { signal } = readCallOptions(operation, options);
  if (signal && isAborted(operation, signal)) throw aborted(operation, signal);
}

/** The core answers with text, or with what went wrong as a plain object. */
function unwrap(operation, answer, signal) {
  if (typeof answer === 'string') return answer;
  if (answer.code === 'ABORTED' && signal !== undefined) throw aborted(operation, signal);
  throw new MediaError(answer.code, answer.message, { ...answer, operation });
}

function aborted(operation, signal) {
  const cause = fromSignal(operation, () => signal.reason);
  return new MediaError('ABORTED', 'the call was aborted by its signal', { operation, cause });
}

/** What the core throws, rather than answers, is a defect of it. */
function ours(operation, error) {
  if (error instanceof MediaError) return error;
  return new MediaError('INTERNAL', 'the media core failed; please report it with this stack', { operation, cause: error });
}

module.exports = { createMedia };
