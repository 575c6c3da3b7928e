import { fileURLToPath } from 'node:url';
import { reactRouter } from '@react-router/dev/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [reactRouter()],
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
