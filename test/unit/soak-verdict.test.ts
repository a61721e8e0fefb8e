import { describe, expect, it } from '@jest/globals';
import { judge, type Sample } from '../../bench/soak-verdict.ts';
import { WeirError } from '../../runtime/errors.ts';

const flat: Sample = { residentMiB: 300, heapMiB: 100, handles: 20, timers: 10, lag: 5 };
/** As a warm-up does it, and then by so much a sample. */
const samples = (count: number, grow: (n: number) => Partial<Sample> = () => ({})): Sample[] =>
  Array.from({ length: count }, (_, n) =>
    n < count * 0.3 ? { ...flat, residentMiB: 100 + n } : { ...flat, ...grow(n) },
  );

describe('the verdict of soak', () => {
  it('is content with what stays as it is after the warm-up', () => {
    expect(judge(samples(100))).toEqual({
      residentMiB: [300, 300],
      heapMiB: [100, 100],
      handles: [20, 20],
      timers: [10, 10],
      lag: [5, 5],
      breaches: [],
    });
  });

  it('overlooks single peaks', () => {
    expect(judge(samples(100, (n) => (n % 9 === 0 ? { residentMiB: 900, timers: 90 } : {}))).breaches).toEqual([]);
  });

  it.each([
    ['resident memory', (n: number) => ({ residentMiB: 300 + n }), /^resident memory, MiB, grew from 34\d to 38\d$/],
    ['handles', (n: number) => ({ handles: n }), /^handles grew/],
    ['timers', (n: number) => ({ timers: n }), /^timers grew/],
    ['memory that is not told', () => ({ residentMiB: Number.NaN }), /^resident memory/],
  ])('names what grows: %s', (_, grow, sentence) => {
    expect(judge(samples(100, grow)).breaches).toEqual([expect.stringMatching(sentence)]);
  });

  it('gives none on too few samples', () => {
    expect(() => judge(samples(40))).toThrow(/^40 samples, of which 28 after the warm-up: a verdict wants 30 of those/);
    expect(() => judge([])).toThrow(WeirError);
  });
});
