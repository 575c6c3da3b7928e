import type { Config } from '@react-router/dev/config';

const { ORIGIN } = process.env;

export default {
  // Behind a proxy that ends https, the server sees http, and takes its own pages for another site's.
  allowedActionOrigins: ORIGIN ? [new URL(ORIGIN).host] : [],
  // What React Router 8 always does.
  future: {
    v8_middleware: true,
    v8_passThroughRequests: true,
    v8_splitRouteModules: true,
    v8_trailingSlashAwareDataRequests: true,
    v8_viteEnvironmentApi: true,
  },
} satisfies Config;
