import type { Config } from '@react-router/dev/config';

const { ORIGIN } = process.env;

export default {
  // Behind a proxy that terminates https, the server sees http, and would reject its own pages' forms as another site's.
  allowedActionOrigins: ORIGIN ? [new URL(ORIGIN).host] : [],
} satisfies Config;
