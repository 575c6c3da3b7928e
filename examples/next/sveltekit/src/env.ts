import { defineEnvVars } from '@sveltejs/kit/env';

const LIVEKIT = ['URL', 'API_URL', 'API_KEY', 'API_SECRET'];
const MEDIA = ['PROVIDER', 'HOST', 'PORT', 'PUBLIC_URL', 'API_KEY', 'API_SECRET', 'ROOM_PREFIX', 'TOKEN_TTL_SECS', 'TIMEOUT_MS'];
const names = [
  'NODE_ENV',
  'SESSION_SECRET',
  ...LIVEKIT.map((name) => `LIVEKIT_${name}`),
  ...MEDIA.map((name) => `MARAVILLA_MEDIA_${name}`),
];

// SvelteKit 3 gives an app only those variables that it names; none of these has to be set.
export const variables = defineEnvVars(Object.fromEntries(names.map((name) => [name, { schema: (value: string | undefined) => value }])));
