'use strict';

// OpenTelemetry: makes a client span of each call on the tracing channel `maravilla:media`.

const { tracingChannel } = require('node:diagnostics_channel');
const { SpanKind, SpanStatusCode, trace } = require('@opentelemetry/api');
const { name, version } = require('./package.json');

class MediaInstrumentation {
  instrumentationName = name;
  instrumentationVersion = version;
  // Follows the global provider, which may be registered later.
  #tracer = trace.getTracer(name, version);
  #config = {};
  #isEnabled = false;
  #spans = new WeakMap();
  #handlers = {
    start: (call) => this.#spans.set(call, this.#tracer.startSpan(`media.${call.operation}`, { kind: SpanKind.CLIENT, attributes: attributesOf(call) })),
    error: (call) => this.#spans.get(call)?.setAttributes(failureOf(call)).setStatus({ code: SpanStatusCode.ERROR, message: call.error.message }),
    asyncEnd: (call) => this.#spans.get(call)?.end(),
  };

  constructor(config = {}) {
    this.setConfig(config);
    if (this.#config.enabled) this.enable();
  }

  enable() {
    if (!this.#isEnabled) tracingChannel('maravilla:media').subscribe(this.#handlers);
    this.#isEnabled = true;
  }

  disable() {
    if (this.#isEnabled) tracingChannel('maravilla:media').unsubscribe(this.#handlers);
    this.#isEnabled = false;
  }

  setTracerProvider(provider) {
    this.#tracer = provider.getTracer(name, version);
  }

  /** No effect: there are no metrics. */
  setMeterProvider() {}

  setConfig(config) {
    this.#config = { enabled: true, ...config };
  }

  getConfig() {
    return this.#config;
  }
}

/** Attributes at the start; OpenTelemetry leaves out those that are `undefined`. */
function attributesOf({ operation, provider, roomId, identity, serverAddress = '' }) {
  const [, address, port] = /^(.+):(\d+)$/.exec(serverAddress) ?? [];
  const own = { 'maravilla.media.operation': operation, 'maravilla.media.provider': provider, 'maravilla.media.room': roomId, 'maravilla.media.identity': identity };
  return { ...own, 'server.address': address, 'server.port': port && Number(port) };
}

function failureOf({ error: { code, upstreamStatus }, requestId }) {
  return { 'error.type': code, 'http.response.status_code': upstreamStatus, 'maravilla.media.request_id': requestId };
}

module.exports = { MediaInstrumentation };
