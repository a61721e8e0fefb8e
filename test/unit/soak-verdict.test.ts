import { describe, expect, it } from '@jest/globals';
import { judge, type Sample } from '../../bench/soak-verdict.ts';
import { WeirError } from '../../runtime/errors.ts';

const flat = { residentMiB: 300, heapMiB: 100, handles: 20, timers: 10, lag: 5 };
/** Every six minutes; as a warm-up does it, and then by so much a sample. */
const samples = (count: number, grow: (n: number) => Partial<Sample> = () => ({})): Sample[] =>
  Array.from({ length: count }, (_, n) => {
    const sample = { atMs: n * 360_000, ...flat };
    return n < count * 0.3 ? { ...sample, residentMiB: 100 + n } : { ...sample, ...grow(n) };
  });

describe('the verdict of soak', () => {
  it('is content with what stays as it is after the warm-up', () => {
    expect(judge(samples(100))).toEqual({
      residentMiB: [300, 300],
      heapMiB: [100, 100],
      handles: [20, 20],
      timers: [10, 10],
      lag: [5, 5],
      residentMiBPerHour: 0,
      heapMiBPerHour: 0,
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

  it('says how many MiB an hour the memory grows after the warm-up, as a line through all samples does', () => {
    const growing = samples(100, (n) => ({ residentMiB: 300 + 0.02 * n, heapMiB: 100 - 0.01 * n + (n % 2) }));
    const { residentMiBPerHour, heapMiBPerHour } = judge(growing);
    expect(residentMiBPerHour).toBeCloseTo(0.2, 9);
    expect(heapMiBPerHour).toBeCloseTo(-0.1, 1);
    // Unevenly taken samples lie on the same line.
    const uneven = growing.filter((_, n) => n % 3 !== 1);
    expect(judge(uneven).residentMiBPerHour).toBeCloseTo(0.2, 9);
  });

  it('gives none on too few samples', () => {
    expect(() => judge(samples(40))).toThrow(/^40 samples, of which 28 after the warm-up: a verdict wants 30 of those/);
    expect(() => judge([])).toThrow(WeirError);
  });
});
