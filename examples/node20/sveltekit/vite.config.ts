import { maravillaMedia } from '@maravilla-labs/platform/vite';
import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  // The dev server also serves the signalling of the embedded engine, so that browsers need no second port.
  plugins: [sveltekit({ adapter: adapter() }), maravillaMedia()],
  // Bundled when the dev server starts. Otherwise the first page that imports it would load twice.
  optimizeDeps: { include: ['livekit-client'] },
  // Contains a native module, which Node.js has to load itself.
  ssr: { external: ['@maravilla-labs/platform'] },
});
