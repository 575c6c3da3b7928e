'use strict';

const {
  aborted,
  bareRecord,
  invalid,
  isAborted,
  readAttachment,
  readCallOptions,
  readChange,
  readData,
  readEvent,
  readMuting,
  readParticipant,
  readRemoval,
  readRoomChange,
  readSending,
  readSettings,
  readText,
  readTokenOptions,
} = require('./arguments.js');
const { MediaError } = require('./errors.js');
const { readNetwork } = require('./network.js');
const { traceMethods } = require('./telemetry.js');

/** The media service. Its methods are closures, so that they work when taken off the object. */
function createMedia(binding, operation, config) {
  const isEmbedded = config.provider === 'embedded';
  const attachment = isEmbedded ? require('./attachment.js').attachmentOf(config.shared) : undefined;
  let provider = open(operation);
  const [permissions, sources] = guard(operation, undefined, () => binding.permissionNames());
  const bits = Object.fromEntries([...permissions, ...sources].map((name, bit) => [name, 1 << bit]));
  // Proxies and certificates are needed for requests to a server, and for the engine's webhooks.
  const remoteUrls = isEmbedded ? (config.webhookUrls ?? []) : [config.apiUrl];
  let isNetworkConfigured = remoteUrls.length === 0;
  let isPortChecked = !isEmbedded || !config.shared || config.port !== undefined;
  let url;
  let closing;
  const pending = new Set();

  function open(operation) {
    if (attachment === undefined) return guard(operation, undefined, () => binding.openLiveKit(config));
    return guard(operation, undefined, () => binding.openEmbedded({ __proto__: null, ...config, isAttached: attachment.isReachable }));
  }

  /**
   * Starts a call and returns its result, or a promise if it has to wait. `start` gets the budget and, if there is a signal, the id by
   * which the call can be cancelled.
   */
  function run(operation, { signal, timeoutMs }, start) {
    const id = signal === undefined ? undefined : guard(operation, signal, () => binding.newCall());
    const stopListening = signal && onAbort(operation, signal, () => binding.cancelCall(id));
    try {
      const answer = guard(operation, signal, () => {
        if (!isNetworkConfigured) configureNetwork();
        return start(timeoutMs, id);
      });
      if (!isPortChecked) checkPort(operation);
      if (typeof answer === 'object') return settle(operation, signal, answer, stopListening);
      stopListening?.();
      return typeof answer === 'string' ? parse(operation, answer) : answer;
    } catch (error) {
      stopListening?.();
      throw error;
    }
  }

  function configureNetwork() {
    binding.configureNetwork(readNetwork(remoteUrls));
    isNetworkConfigured = true;
  }

  async function settle(operation, signal, promise, stopListening) {
    let end = (_) => {};
    const ended = new Promise((resolve) => (end = resolve));
    pending.add(ended);
    try {
      const answer = await promise;
      return parse(operation, guard(operation, signal, () => answer));
    } catch (error) {
      throw toMediaError(operation, error);
    } finally {
      pending.delete(ended);
      end(undefined);
      stopListening?.();
    }
  }

  /** Runs an operation. Options and arguments have been read. */
  function call(operation, options, values = {}) {
    return callWithJson(operation, options, JSON.stringify(bareRecord(values)));
  }

  const callWithJson = (operation, options, json) => run(operation, options, (timeoutMs, id) => binding.call(provider, operation, json, timeoutMs, id));

  /** Runs an operation that takes only texts. */
  function callWith(operation, options, texts) {
    readTexts(operation, texts);
    return call(operation, readCallOptions(operation, options), texts);
  }

  /** Asks the core, as a part of `operation`. */
  const query = (operation, name, timeoutMs) => parse(operation, guard(operation, undefined, () => binding.call(provider, name, '{}', timeoutMs)));

  function checkPort(operation) {
    const port = query(operation, 'enginePort');
    if (port === null) return;
    isPortChecked = true;
    require('./default-port.js').checkDefaultPort(port, config.host);
  }

  const engine = {
    /** The engine's address, for this process; starts the engine. */
    async locate() {
      const operation = 'attach';
      if (!isNetworkConfigured) guard(operation, undefined, configureNetwork);
      const { hostname } = new URL(query(operation, 'mediaUrl'));
      // A public URL is that of a proxy, and without a host it is not known where the shared engine listens.
      const host = config.host ?? (config.publicUrl === undefined ? hostname.replace(/^\[|\]$/g, '') : '127.0.0.1');
      return { host: require('./default-port.js').reachedAt(host), port: query(operation, 'enginePort') };
    },
    /** Receives media from other machines, unless the engine is running: its sockets are open. */
    onReachable() {
      const earlier = provider;
      if (closing !== undefined || query('attach', 'enginePort') !== null) return;
      provider = open('attach');
      if (!config.shared) binding.call(earlier, 'close', '{}');
    },
  };
  if (attachment !== undefined) attachment.engine = engine;

  const media = {
    async createRoom(roomId, settings, options) {
      const operation = 'createRoom';
      readText(operation, 'roomId', roomId);
      const { maxParticipants, emptyTimeoutSecs, departureTimeoutSecs, metadata } = readSettings(operation, 'settings', settings) ?? NO_SETTINGS;
      const fields = run(operation, readCallOptions(operation, options), (timeoutMs, id) =>
        binding.createRoom(provider, roomId, maxParticipants, emptyTimeoutSecs, departureTimeoutSecs, metadata, timeoutMs, id),
      );
      // A number is the time of creation of an empty room with the requested maximum.
      if (typeof fields === 'number') return { name: roomId, numParticipants: 0, maxParticipants: maxParticipants || 0, createdAt: fields, active: true };
      return roomOf(roomId, Array.isArray(fields) ? fields : await fields, 0);
    },
    async deleteRoom(roomId, options) {
      await callWith('deleteRoom', options, { roomId });
    },
    async listRooms(options) {
      const [names, fields] = await callWith('listRooms', options);
      return names.map((name, i) => roomOf(name, fields, 3 * i));
    },
    async getRoom(roomId, options) {
      const found = await callWith('getRoom', options, { roomId });
      return found && roomOf(found[0], found, 1);
    },
    async updateRoom(roomId, change, options) {
      const operation = 'updateRoom';
      readTexts(operation, { roomId });
      const metadata = readRoomChange(operation, change);
      const updated = await call(operation, readCallOptions(operation, options), { roomId, metadata });
      return roomOf(updated[0], updated, 1);
    },
    async listParticipants(roomId, options) {
      return await callWith('listParticipants', options, { roomId });
    },
    async getParticipant(roomId, identity, options) {
      return await callWith('getParticipant', options, { roomId, identity });
    },
    async updateParticipant(roomId, identity, change, options) {
      const operation = 'updateParticipant';
      readTexts(operation, { roomId, identity });
      const changes = readChange(operation, change, sources);
      return await call(operation, readCallOptions(operation, options), { roomId, identity, ...changes });
    },
    async muteParticipant(roomId, identity, options) {
      const operation = 'muteParticipant';
      readTexts(operation, { roomId, identity });
      const { sources: chosen, ...callOptions } = readMuting(operation, options, sources);
      return await call(operation, callOptions, { roomId, identity, sources: chosen });
    },
    async sendData(roomId, data, options) {
      const operation = 'sendData';
      readTexts(operation, { roomId });
      const payload = readData(operation, data);
      const { to, topic, reliable, ...callOptions } = readSending(operation, options);
      await call(operation, callOptions, { roomId, ...payload, to, topic, reliable });
    },
    async removeParticipant(roomId, identity, options) {
      const operation = 'removeParticipant';
      readTexts(operation, { roomId, identity });
      const { revokeTokens, ...callOptions } = readRemoval(operation, options);
      return { tokensRevoked: await call(operation, callOptions, { roomId, identity, revokeTokens }) };
    },
    async receiveWebhook(request, options) {
      const operation = 'receiveWebhook';
      const callOptions = readCallOptions(operation, options);
      const { signal, timeoutMs } = callOptions;
      if (signal !== undefined && isAborted(operation, signal)) throw aborted(operation, signal);
      // Only the core knows the range, and the body has to be read before it is called.
      if (timeoutMs !== undefined) query(operation, 'enginePort', timeoutMs);
      const limits = { signal, timeoutMs: timeoutMs ?? config.timeoutMs };
      const { body, authorization } = await require('./webhooks.js').readWebhook(operation, request, limits);
      return run(operation, callOptions, () => binding.receiveWebhook(provider, body, authorization));
    },
    async signWebhook(event, options) {
      const operation = 'signWebhook';
      const [body, authorization] = await callWithJson(operation, readCallOptions(operation, options), readEvent(operation, event));
      return { body, headers: { 'content-type': 'application/webhook+json', authorization } };
    },
    async generateToken(roomId, participant, options) {
      const operation = 'generateToken';
      readText(operation, 'roomId', roomId);
      const { identity, name, ttlSecs, metadata, attributes, roomSettings, grants } = readParticipant(operation, participant, bits, sources);
      const { signal, timeoutMs, origin } = readTokenOptions(operation, options);
      if (signal !== undefined && isAborted(operation, signal)) throw aborted(operation, signal);
      const now = Math.floor(Date.now() / 1000);
      // The call may start the engine.
      if (isEmbedded && !isNetworkConfigured) guard(operation, signal, configureNetwork);
      const answer = guard(operation, signal, () =>
        binding.generateToken(provider, now, roomId, identity, grants, name, ttlSecs, metadata, attributes, roomSettings, timeoutMs),
      );
      const space = answer.indexOf(' ');
      url ??= query(operation, 'mediaUrl');
      if (!isPortChecked) checkPort(operation);
      const served = origin === undefined ? undefined : attachment?.urlAt(origin);
      return { token: answer.slice(space + 1), url: served ?? url, expiresAt: Number(answer.slice(0, space)) * 1000 };
    },
    async attach(server, options) {
      const operation = 'attach';
      const { mediaPath, signal } = readAttachment(operation, server, options);
      if (signal !== undefined && isAborted(operation, signal)) throw aborted(operation, signal);
      // Clients of a LiveKit server connect to its own URL.
      if (attachment === undefined) return () => {};
      // Rejects once the platform is closed.
      query(operation, 'enginePort');
      return attachment.attach(server, mediaPath);
    },
    async mediaUrl(options) {
      return callWith('mediaUrl', options);
    },
  };

  /** Resolves once the pending calls have ended and an engine that is not shared is closed. */
  const close = async () => {
    await Promise.all(pending);
    if (!isEmbedded) return;
    url = undefined;
    // Kept, because only the first call waits in the core until the port is free.
    closing ??= call('close', {});
    try {
      await closing;
    } catch (error) {
      closing = undefined;
      throw error;
    }
  };
  return { media: traceMethods(media, config), close };
}

const NO_SETTINGS = { __proto__: null };

/** Checks arguments that are strings. */
function readTexts(operation, texts = {}) {
  for (const name of Object.keys(texts)) readText(operation, name, texts[name]);
}

/** A room with the three fields from `at` on. Servers list open rooms only. */
function roomOf(name, fields, at) {
  return { name, numParticipants: fields[at], maxParticipants: fields[at + 1], createdAt: fields[at + 2], active: true };
}

// One listener for each signal, with the calls to cancel: Node warns at the eleventh, and a server may use one signal for hundreds of calls.
const cancellations = new WeakMap();

/** Calls `cancel` when `signal` aborts, until the returned function is called. Throws if it has aborted. */
function onAbort(operation, signal, cancel) {
  if (isAborted(operation, signal)) throw aborted(operation, signal);
  let registered = cancellations.get(signal);
  if (registered === undefined) {
    const calls = new Set();
    registered = { calls, listener: () => calls.forEach((each) => each()) };
    listen(operation, () => signal.addEventListener('abort', registered.listener));
    cancellations.set(signal, registered);
  }
  const { calls, listener } = registered;
  calls.add(cancel);
  return () => {
    calls.delete(cancel);
    if (calls.size > 0) return;
    cancellations.delete(signal);
    listen(operation, () => signal.removeEventListener('abort', listener));
  };
}

function listen(operation, use) {
  try {
    use();
  } catch (error) {
    throw invalid(operation, 'options.signal', 'cannot be listened to', error);
  }
}

/** Runs `native`, which calls the core, and throws a MediaError if the result is a failure. An exception of the core is a defect. */
function guard(operation, signal, native) {
  let answer;
  try {
    answer = native();
  } catch (error) {
    throw toMediaError(operation, error);
  }
  if (typeof answer !== 'object' || !Object.hasOwn(answer, 'code')) return answer;
  if (answer.code === 'ABORTED' && signal !== undefined) throw aborted(operation, signal);
  throw new MediaError(answer.code, answer.message, { ...answer, operation });
}

function parse(operation, json) {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw toMediaError(operation, error);
  }
}

function toMediaError(operation, error) {
  if (error instanceof MediaError) return error;
  return new MediaError('INTERNAL', 'the media core failed; please report it with this stack', { operation, cause: error });
}

module.exports = { createMedia };
