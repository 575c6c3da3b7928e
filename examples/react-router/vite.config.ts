import { fileURLToPath } from 'node:url';
import { reactRouter } from '@react-router/dev/vite';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [reactRouter()],
  resolve: { alias: { '~': fileURLToPath(new URL('./app', import.meta.url)) } },
  optimizeDeps: {
    // Found before the first page asks for it: else the dev server loads that page twice.
    include: ['livekit-client'],
    // For the server alone: found late as well, it would have a page loaded twice for nothing.
    exclude: ['@maravilla-labs/platform'],
  },
  // A native module is loaded by Node as it is.
  ssr: { external: ['@maravilla-labs/platform'] },
});
