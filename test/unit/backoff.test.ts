import { expect, it } from '@jest/globals';
import { createBackoff } from '../../runtime/backoff.ts';

it('doubles up to the longest, and begins anew', () => {
  const backoff = createBackoff(100, 500);
  const waits = () => Array.from({ length: 4 }, () => backoff.next());
  expect(waits()).toEqual([100, 200, 400, 500]);
  backoff.reset();
  expect(waits()).toEqual([100, 200, 400, 500]);
});
