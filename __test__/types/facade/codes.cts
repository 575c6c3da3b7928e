// The public error codes are exactly those of the core.
import type { MediaErrorCode } from '@maravilla-labs/platform';
import type { MediaErrorCode as Generated } from '../../../binding.js';
import type { Equal, Expect } from '../equal.mjs';

export type Codes = Expect<Equal<MediaErrorCode, Generated>>;
