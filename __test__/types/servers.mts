// The subpath /vite, and media.attach with the servers of Node.js and Vite.
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { getPlatform } from '@maravilla-labs/platform';
import { type MaravillaMediaOptions, maravillaMedia } from '@maravilla-labs/platform/vite';

const options: MaravillaMediaOptions = { mediaPath: '/calls' };
export const plugins = [maravillaMedia(), maravillaMedia(options)];

export async function attaches(): Promise<void> {
  const { media } = getPlatform();
  const detach: (() => void) | undefined = await media?.attach(createServer());
  await media?.attach(createHttpsServer(), { mediaPath: '/calls', timeoutMs: 500 });
  await media?.attach(createSecureServer());
  detach?.();
  // @ts-expect-error
  await media?.attach(createServer(), { mediaPath: 7 });
  // @ts-expect-error
  maravillaMedia({ path: '/calls' });
}
