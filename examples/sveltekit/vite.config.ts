import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter(),
      // The address that visitors type. Without it the built server assumes https and the Host header.
      paths: { origin: process.env.ORIGIN },
    }),
  ],
  // Found before the first page asks for it: else the dev server loads that page twice.
  optimizeDeps: { include: ['livekit-client'] },
  // A native module is loaded by Node as it is.
  ssr: { external: ['@maravilla-labs/platform'] },
});
