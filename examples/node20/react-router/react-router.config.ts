import type { Config } from '@react-router/dev/config';

const { ORIGIN } = process.env;

export default {
  // Behind a proxy that terminates TLS the server sees http, and would reject forms of its own pages as cross-origin.
  allowedActionOrigins: ORIGIN ? [new URL(ORIGIN).host] : [],
  // The behaviour of React Router 8.
  future: {
    v8_middleware: true,
    v8_passThroughRequests: true,
    v8_splitRouteModules: true,
    v8_trailingSlashAwareDataRequests: true,
    v8_viteEnvironmentApi: true,
  },
} satisfies Config;
