// Node's own environment as `env`.
import { getPlatform } from '@maravilla-labs/platform';

export const platform = getPlatform({ env: process.env });
getPlatform({ env: { ...process.env, LIVEKIT_URL: 'ws://127.0.0.1:7880' } });
// @ts-expect-error
getPlatform({ env: { MARAVILLA_MEDIA_TIMEOUT_MS: 5000 } });
