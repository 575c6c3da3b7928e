// The types inferred from the facade's JavaScript match index.d.ts.
import type * as contract from '@maravilla-labs/platform';
import edgeEntry = require('../../../edge.js');
import errors = require('../../../facade/errors.js');
import media = require('../../../facade/media.js');
import platform = require('../../../facade/platform.js');

export const service: contract.MediaService = media.createMedia({}, 'getPlatform', {}).media;
export const failure: Omit<contract.MediaError, 'name'> = new errors.MediaError('TIMEOUT', 'no answer');
export const isMediaError: (value: unknown) => boolean = errors.isMediaError;
export const getPlatform: typeof contract.getPlatform = platform.getPlatform;
export const clearPlatformCache: typeof contract.clearPlatformCache = platform.clearPlatformCache;
export const createPlatform: (options?: contract.PlatformOptions) => contract.Platform = platform.createPlatform;
export const edge: Omit<typeof contract, 'MediaError' | 'getPlatform' | 'isMediaError' | 'createPlatform'> = edgeEntry;
