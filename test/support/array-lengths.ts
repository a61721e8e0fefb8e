import { expect } from '@jest/globals';

// For toEqual, [1] is [1, undefined]: whoever says that nothing comes at the end would say nothing.
expect.addEqualityTesters([
  (a: unknown, b: unknown) => (Array.isArray(a) && Array.isArray(b) && a.length !== b.length ? false : undefined),
]);
