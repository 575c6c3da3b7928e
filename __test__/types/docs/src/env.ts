// As SvelteKit declares it.
export declare const env: { [key: `PUBLIC_${string}`]: undefined; [key: `${string}`]: string | undefined };
