// As SvelteKit 3 generates it from the app's own src/env.ts.
export declare const NODE_ENV: string | undefined;
export declare const LIVEKIT_URL: string | undefined;
