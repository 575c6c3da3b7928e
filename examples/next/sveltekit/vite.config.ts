import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter(),
      // SvelteKit 3 knows `$lib` no more by itself.
      alias: { $lib: 'src/lib' },
      // adapter-node 6 is told what visitors type when it builds, and takes it for https otherwise.
      paths: { origin: process.env.ORIGIN },
    }),
  ],
  optimizeDeps: { include: ['livekit-client'] },
  ssr: { external: ['@maravilla-labs/platform'] },
});
