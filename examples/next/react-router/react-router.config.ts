import type { Config } from '@react-router/dev/config';

const { ORIGIN } = process.env;

// React Router 8 always does what 7 is told to do by its `future` flags.
export default {
  allowedActionOrigins: ORIGIN ? [new URL(ORIGIN).host] : [],
} satisfies Config;
