// An app declares what else its injected platform offers. Compiled on its own, because this changes `Platform` everywhere.
import { type Platform, createPlatform, getPlatform } from '@maravilla-labs/platform';

interface Presence {
  join(channel: string, id: string, data?: Record<string, unknown>): Promise<void>;
}

declare module '@maravilla-labs/platform' {
  interface Platform {
    realtime: { presence: Presence };
    env?: { DB: unknown };
  }
}

export async function usesBoth(platform: Platform): Promise<void> {
  await platform.realtime.presence.join('huddle:1', 'ann', { display_name: 'Ann' });
  await getPlatform().realtime.presence.join('huddle:1', 'ann');
  await platform.media?.createRoom('huddle:1');
  void getPlatform().env?.DB;
  await createPlatform().close();
  // @ts-expect-error
  void platform.workflows;
}
