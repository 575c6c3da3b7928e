import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter(),
      // SvelteKit 3 knows `$lib` no more by itself.
      alias: { $lib: 'src/lib' },
      // adapter-node 6 takes every address for https, and this copy is served over http, on a port known only then.
      csrf: { trustedOrigins: ['*'] },
    }),
  ],
  optimizeDeps: { include: ['livekit-client'] },
  ssr: { external: ['@maravilla-labs/platform'] },
});
