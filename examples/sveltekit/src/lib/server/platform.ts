import { getPlatform } from '@maravilla-labs/platform';
import { env } from './env';

/** The environment selects the provider. `platform.media` is `undefined` if none is configured. */
export const platform = getPlatform({ env });
