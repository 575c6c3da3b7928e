/** Every variable: SvelteKit 2 needs no declarations. */
export { env } from '$env/dynamic/private';
