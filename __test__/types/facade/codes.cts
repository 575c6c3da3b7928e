// The public error codes are the core's, neither more nor fewer.
import type { MediaErrorCode } from '@maravilla-labs/platform';
import type { MediaErrorCode as Generated } from '../../../binding.js';
import type { Equal, Expect } from '../equal.mjs';

export type Codes = Expect<Equal<MediaErrorCode, Generated>>;
