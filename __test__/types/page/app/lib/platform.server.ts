import { getPlatform } from '@maravilla-labs/platform';

export const platform = getPlatform();
