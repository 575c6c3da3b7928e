import { getPlatform } from '@maravilla-labs/platform';
import { env } from './env';

/** Where rooms live is a matter of the environment; `media` is undefined where there is nothing. */
export const platform = getPlatform({ env });
