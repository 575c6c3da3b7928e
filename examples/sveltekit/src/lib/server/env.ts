/** The variables that src/env.ts declares. */
export * as env from '$app/env/private';
