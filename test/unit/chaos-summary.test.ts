import { describe, expect, it } from '@jest/globals';
import type { RoundReport } from '../chaos/round.ts';
import { failuresOf, summarize, summaryText } from '../chaos/summary.ts';

const calm: RoundReport = {
  fault: 'kill',
  seed: 7,
  perSecond: 400,
  transactions: 5_000,
  deadLetters: 20,
  repeated: 20,
  duplicates: 0,
  skipped: 25,
  faultMs: 6_000,
  struckMs: 5_200,
  othersMs: 100,
  problems: [],
};
const broken = { fault: 'kill', seed: 8, perSecond: 400, error: 'waited for three minutes: something' };

describe('the judgement of chaos', () => {
  it('lets a round pass that is right, compared and quick', () => {
    expect(failuresOf(calm)).toEqual([]);
  });

  it.each([
    ['wrong output', { problems: ['there are two risk events for 0:1'] }, /two risk events/],
    ['too little compared', { skipped: 751 }, /751 of 5000 events were skipped in the comparison, more than 15 %/],
    ['a slow take-over, however long the round took', { struckMs: 6_001, faultMs: 60_000 }, /strikes were .* 6001 ms/],
    ['others that waited with it', { othersMs: 1_001 }, /other partitions were without output for 1001 ms/],
  ])('fails it for %s', (_, change, sentence) => {
    expect(failuresOf({ ...calm, ...change })).toEqual([expect.stringMatching(sentence)]);
  });

  it('asks no time of partitions that a round does not have', () => {
    expect(failuresOf({ ...calm, fault: 'storm', othersMs: undefined })).toEqual([]);
  });

  it('lets an outage last as long as it does, and what comes after it no longer than it may', () => {
    const stall = { ...calm, fault: 'redis-stall', faultMs: 30_000, othersMs: undefined };
    expect(failuresOf({ ...stall, struckMs: 33_000 })).toEqual([]);
    expect(failuresOf({ ...stall, struckMs: 33_001 })).toHaveLength(1);
  });

  it('counts a round that broke, and sums up the others', () => {
    const slow = { ...calm, seed: 9, struckMs: 9_000, othersMs: 300, duplicates: 3, skipped: 50 };
    const quick = { ...calm, struckMs: 4_900 };
    expect(summarize([calm, slow, broken, quick])).toEqual([
      {
        fault: 'kill',
        rounds: 4,
        failed: 2,
        events: 15_000,
        duplicates: 3,
        skippedShare: 0.01,
        struckMs: { median: 5_200, worst: 9_000 },
        othersMs: { median: 100, worst: 300 },
      },
    ]);
  });

  it('says how to see a failed round again', () => {
    const text = summaryText([calm, broken]);
    expect(text).toContain('kill: waited for three minutes: something\n');
    expect(text).toContain('npm run chaos -- --faults kill --round-seed 8 --rate 400');
    expect(text).not.toContain('--round-seed 7');
  });
});
