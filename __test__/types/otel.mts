// The subpath /otel, with OpenTelemetry's own types.
import type { MediaTraceMessage } from '@maravilla-labs/platform';
import { MediaInstrumentation, type MediaInstrumentationConfig } from '@maravilla-labs/platform/otel';
import type { Instrumentation } from '@opentelemetry/instrumentation';

export const instrumentation: Instrumentation = new MediaInstrumentation({ enabled: false });
export const config: MediaInstrumentationConfig = new MediaInstrumentation().getConfig();
// @ts-expect-error
new MediaInstrumentation({ enabled: 1 });
export const codeOf = (message: MediaTraceMessage): string => message.error?.code ?? message.operation;
