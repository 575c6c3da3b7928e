import { getPlatform } from '@maravilla-labs/platform';

/** The environment selects the provider. `platform.media` is `undefined` if none is configured. */
export const platform = getPlatform();
