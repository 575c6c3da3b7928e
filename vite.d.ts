import type { MediaHttpServer } from './index.js';

/** Options of {@link maravillaMedia}. */
export interface MaravillaMediaOptions {
  /** The path below which signalling is served; default `/media`. */
  mediaPath?: string | undefined;
}

/** The members of Vite's dev server and preview server that are used. */
export interface MediaViteServer {
  httpServer: MediaHttpServer | null;
  config: { logger: { warn(message: string): void } };
}

/** A plugin for Vite 5 or newer. Declared here so that Vite's own types are not needed. */
export interface MediaVitePlugin {
  name: string;
  configureServer(server: MediaViteServer): void;
  configurePreviewServer(server: MediaViteServer): void;
}

/**
 * Serves the signalling of `getPlatform()`'s embedded engine on Vite's dev server and preview server, as `media.attach` does. Without an embedded
 * engine it has no effect.
 */
export declare function maravillaMedia(options?: MaravillaMediaOptions): MediaVitePlugin;
