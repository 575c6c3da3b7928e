import { fileURLToPath } from 'node:url';
import { maravillaMedia } from '@maravilla-labs/platform/vite';
import { reactRouter } from '@react-router/dev/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  // The dev server also serves the signalling of the embedded engine, so that browsers need no second port.
  plugins: [reactRouter(), maravillaMedia()],
  resolve: { alias: { '~': fileURLToPath(new URL('./app', import.meta.url)) } },
  optimizeDeps: {
    // Bundled when the dev server starts. Otherwise the first page that imports it would load twice.
    include: ['livekit-client'],
    // Server-only, so bundling it for the browser would load the page twice for nothing.
    exclude: ['@maravilla-labs/platform'],
  },
  // Contains a native module, which Node.js has to load itself.
  ssr: { external: ['@maravilla-labs/platform'] },
});
