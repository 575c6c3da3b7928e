import type { MeterProvider, TracerProvider } from '@opentelemetry/api';

/** Configuration of {@link MediaInstrumentation}. */
export interface MediaInstrumentationConfig {
  /** Makes spans as soon as it is constructed; default `true`. */
  enabled?: boolean;
}

/**
 * Makes an OpenTelemetry client span of each call of a method of `media`. Pass it to `registerInstrumentations` or `NodeSDK`; alone, it uses the global
 * tracer provider. No span contains a token, a secret, or metadata.
 */
export declare class MediaInstrumentation {
  constructor(config?: MediaInstrumentationConfig);
  instrumentationName: string;
  instrumentationVersion: string;
  enable(): void;
  disable(): void;
  setTracerProvider(provider: TracerProvider): void;
  /** No effect, because there are no metrics. */
  setMeterProvider(provider: MeterProvider): void;
  setConfig(config: MediaInstrumentationConfig): void;
  getConfig(): MediaInstrumentationConfig;
}
