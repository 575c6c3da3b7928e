/// <reference types="node" />
// What the facade asks of Node that @types/node does not say, or not for every version.
import 'node:tls';

declare module 'node:tls' {
  /** Since Node 22.15; the facade looks before it calls. */
  function getCACertificates(type: 'default'): string[];
}

declare global {
  /** The edge entry looks whether it runs in a browser. */
  const document: unknown;
  /** Webpack writes it as `require`. */
  const __non_webpack_require__: (id: string) => unknown;
}
