import type { Config } from '@react-router/dev/config';

// React Router 8 always does what 7 is told to do by its `future` flags.
export default {} satisfies Config;
