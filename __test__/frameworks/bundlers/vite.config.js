export default {
  build: { ssr: 'serve.js', emptyOutDir: false, rollupOptions: { output: { entryFileNames: 'vite.mjs' } } },
  ssr: { noExternal: true },
};
