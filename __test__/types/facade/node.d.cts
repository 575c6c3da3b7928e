/// <reference types="node" />
// Node APIs that @types/node does not declare, or not in every version.
import 'node:tls';

declare module 'node:tls' {
  /** Since Node 22.15; the facade checks for it. */
  function getCACertificates(type: 'default'): string[];
}

declare global {
  /** The edge entry checks whether it runs in a browser. */
  const document: unknown;
  /** Webpack replaces it with `require`. */
  const __non_webpack_require__: (id: string) => unknown;
}
