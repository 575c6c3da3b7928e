import type { Config } from '@react-router/dev/config';

const { ORIGIN } = process.env;

export default {
  // Behind a proxy that terminates TLS the server sees http, and would reject forms of its own pages as cross-origin.
  allowedActionOrigins: ORIGIN ? [new URL(ORIGIN).host] : [],
} satisfies Config;
