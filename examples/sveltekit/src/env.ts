import { defineEnvVars } from '@sveltejs/kit/env';

const optional = { schema: (value: string | undefined) => value };

// SvelteKit 3 exposes only the variables that are declared here.
export const variables = defineEnvVars({
  NODE_ENV: optional,
  SESSION_SECRET: optional,
  LIVEKIT_URL: optional,
  LIVEKIT_API_URL: optional,
  LIVEKIT_API_KEY: optional,
  LIVEKIT_API_SECRET: optional,
  MARAVILLA_MEDIA_PROVIDER: optional,
  MARAVILLA_MEDIA_API_KEY: optional,
  MARAVILLA_MEDIA_API_SECRET: optional,
  MARAVILLA_MEDIA_HOST: optional,
  MARAVILLA_MEDIA_LOG: optional,
  MARAVILLA_MEDIA_PORT: optional,
  MARAVILLA_MEDIA_PUBLIC_URL: optional,
  MARAVILLA_MEDIA_ROOM_PREFIX: optional,
  MARAVILLA_MEDIA_RTC_ADDRESS: optional,
  MARAVILLA_MEDIA_RTC_PORT: optional,
  MARAVILLA_MEDIA_TIMEOUT_MS: optional,
  MARAVILLA_MEDIA_TOKEN_TTL_SECS: optional,
  MARAVILLA_MEDIA_WEBHOOK_URLS: optional,
});
