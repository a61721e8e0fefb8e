import { expect, it } from '@jest/globals';
import { createAlignment } from '../../consumers/alignment.ts';
import type { Ownership } from '../../consumers/ports.ts';
import { createFrontiers } from '../../features/frontiers.ts';
import { clockAt } from '../support/clock.ts';
import { batchOf, heldStore, minute } from '../support/feature-process.ts';

it('is not taken for read to its end while a transaction that is open hides the rest for longer than others may miss', () => {
  let now = 0;
  const clock = clockAt(() => now);
  const frontiers = createFrontiers(heldStore().store, clock);
  frontiers.own('t:0');
  const ownership = { stream: 't', partition: 0, partitions: 2 } as Ownership;
  const alignment = createAlignment({
    config: { within: '1m', patience_ms: 60_000 },
    allowedLatenessMs: 0,
    flushIntervalMs: 1_000,
    ownership,
    engine: {
      frontiers,
      asksOfOthers: () => ({ undelayed: true, delayMs: Number.POSITIVE_INFINITY, leadMs: Number.POSITIVE_INFINITY }),
    },
    flusher: { tell() {}, demand() {} },
    clock,
    observer: { skewed() {}, held() {} },
    leaving: new AbortController().signal,
  });
  const stateAfter = (ms: number, tell: () => void) => {
    now += ms;
    tell();
    return frontiers.of('t:0')?.state;
  };
  alignment.replaying(batchOf([5]));
  expect(stateAfter(0, alignment.ended)).toBe('at-end');
  expect(stateAfter(10, alignment.blocked)).toBe('at-end');
  expect(stateAfter(minute - 1, alignment.blocked)).toBe('at-end');
  expect(stateAfter(1, alignment.blocked)).toBe('reading');
  expect(frontiers.of('t:0')?.time).toBe(5 * minute);
  // The next one is another one.
  expect(stateAfter(minute, alignment.ended)).toBe('at-end');
  expect(stateAfter(minute, alignment.blocked)).toBe('at-end');
});
