import { maravillaMedia } from '@maravilla-labs/platform/vite';
import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter(),
      // The app's public origin. Without it, the built server assumes https and the Host header.
      paths: { origin: process.env.ORIGIN },
    }),
    // The dev server also serves the signalling of the embedded engine, so that browsers need no second port.
    maravillaMedia(),
  ],
  // Bundled when the dev server starts. Otherwise the first page that imports it would load twice.
  optimizeDeps: { include: ['livekit-client'] },
  // Contains a native module, which Node.js has to load itself.
  ssr: { external: ['@maravilla-labs/platform'] },
});
