/// <reference types="node" />
// What the facade asks of Node that @types/node does not say, or not for every version.
import 'node:tls';

declare module 'node:tls' {
  /** Since Node 22.15; the facade looks before it calls. */
  function getCACertificates(type: 'default'): string[];
}

declare global {
  namespace NodeJS {
    interface ProcessReport {
      getReport(): { header: { glibcVersionRuntime?: string } };
    }
  }
}
