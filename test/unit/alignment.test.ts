import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { limitsOf, type Other, rowsInTurn, weigh } from '../../consumers/alignment-rule.ts';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder, type DecodedBatch } from '../../consumers/decode/decoder.ts';
import { rowsOf } from '../../consumers/published-rows.ts';
import { splitAt } from '../../consumers/split.ts';
import { frontierOf } from '../../features/frontier.ts';
import { at, config, good, json, rawBatch } from '../support/decoding.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const infinite = Number.POSITIVE_INFINITY;
const times = (...list: number[]) => Float64Array.from(list);
const begin = (list: readonly number[], before = Number.NEGATIVE_INFINITY) =>
  frontierOf(times(...list), list.length, before);

describe('where a partition stands', () => {
  it('is where its next batch begins', () => {
    expect(begin([100, 110, 120])).toBe(100);
    expect(begin([100, 110, 120], 90)).toBe(100);
    expect(begin([], 90)).toBe(90);
  });

  it('is moved neither by a late event, nor by one that is far ahead', () => {
    expect(begin([3, 100, 110, 120], 90)).toBe(100);
    expect(begin([9_999, 100, 110, 120], 90)).toBe(100);
  });

  it('goes back with the log', () => {
    expect(begin([10, 11, 100], 90)).toBe(10);
    expect(begin([100], 9_999)).toBe(100);
  });
});

describe('what is waited for', () => {
  const other = (more: Partial<Other> = {}): Other => ({
    time: 100,
    state: 'reading',
    saidAt: 0,
    isHere: false,
    unmovedMs: 0,
    ...more,
  });
  const weighed = (...others: Other[]) =>
    weigh(others, { recordedAt: 50_000, idleGraceMs: 30_000, patienceMs: 60_000 });
  const nobody = { slowest: Number.POSITIVE_INFINITY, seenBefore: Number.POSITIVE_INFINITY };

  it('is the slowest partition', () => {
    expect(weighed()).toEqual(nobody);
    expect(weighed(other(), other({ time: 90, state: 'waiting' }))).toEqual({ slowest: 90, seenBefore: 90 });
  });

  it('is none at its end, as long as it says so', () => {
    expect(weighed(other({ state: 'at-end', saidAt: 20_000 }))).toEqual(nobody);
    expect(weighed(other({ state: 'at-end', saidAt: 19_999 }))).toEqual({ slowest: 100, seenBefore: 100 });
    expect(weighed(other({ state: 'at-end', saidAt: 0, isHere: true }))).toEqual(nobody);
  });

  it('is none that has not got on for too long: what it lacks is missed', () => {
    const dead = other({ time: 10, unmovedMs: 60_000 });
    expect(weighed(other(), dead)).toEqual({ slowest: 100, seenBefore: 10 });
  });
});

describe('the turn of a batch', () => {
  const delayed = limitsOf({ undelayed: false, delayMs: 7 * day, leadMs: 7 * day }, minute, hour);
  const rows = (list: readonly number[], slowest: number, limits = delayed) =>
    rowsInTurn(times(...list), list.length, Math.min(...list), slowest, limits);

  it('goes by the delay less the allowed lateness, where all that is shared is delayed', () => {
    expect(delayed).toEqual({ withinMs: Number.POSITIVE_INFINITY, aheadMs: 7 * day - hour });
    const limit = 100 + 7 * day - hour;
    expect(rows([5 * day, limit - 1, limit, limit + 1], 100)).toBe(2);
    expect(rows([limit], 100)).toBe(0);
    expect(rows([limit], 101)).toBe(1);
  });

  it('leaves room for a delay that is shorter than the allowed lateness, and none beyond the lead', () => {
    const ahead = (delayMs: number, leadMs = delayMs) =>
      limitsOf({ undelayed: false, delayMs, leadMs }, minute, hour).aheadMs;
    expect([ahead(30_000), ahead(hour), ahead(90 * day, 7 * day)]).toEqual([30_000, minute, 7 * day]);
  });

  it('goes by where the batch before began, where something without a delay is shared', () => {
    const limits = limitsOf({ undelayed: true, delayMs: infinite, leadMs: infinite }, minute, hour);
    const turn = (begins: number) => rowsInTurn(times(begins, begins + day), 2, begins, 100, limits);
    expect([turn(100 + minute), turn(101 + minute)]).toEqual([2, 0]);
  });

  it('takes what is far ahead along with what comes behind it and is not', () => {
    expect(rows([100, 90 * day, 200, 80 * day], 100)).toBe(3);
  });

  it('is always that of the partition that stands earliest', () => {
    const batches = fc.array(fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 5 }), {
      minLength: 2,
      maxLength: 4,
    });
    const asked = fc.record({
      undelayed: fc.boolean(),
      delayMs: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(infinite)),
      leadMs: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(infinite)),
    });
    const settings = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 20 }));
    fc.assert(
      fc.property(
        batches,
        asked,
        settings,
        fc.integer({ min: -5, max: 50 }),
        (lists, wants, [within, lateness], before) => {
          const limits = limitsOf(wants, within, lateness);
          const frontiers = lists.map((list) => begin(list, before));
          const earliest = frontiers.indexOf(Math.min(...frontiers));
          const others = frontiers.filter((_, index) => index !== earliest);
          const list = lists[earliest];
          expect(
            rowsInTurn(times(...list), list.length, frontiers[earliest], Math.min(...others), limits),
          ).toBeGreaterThan(0);
        },
      ),
    );
  });
});

describe('a batch that is cut', () => {
  it('is in each part what is decoded of its records', () => {
    const decoder = createDecoder(eventConfig.parse(config), json);
    const records = [null, good, 'no record', { ...good, id: 't-2' }, null, { ...good, id: 't-3' }, 'nor this'];
    const raw = rawBatch(records.map((record) => (record === null ? null : Buffer.from(JSON.stringify(record)))));
    // Columns as decoded may be longer than they have rows.
    const cut = ({ batch, ...rest }: DecodedBatch) => ({ ...rest, batch: rowsOf(batch, [...batch.ids.keys()]) });
    const whole = { raw, decoded: decoder.decode(raw, at) };
    for (const rows of [1, 2]) {
      const [head, tail] = splitAt(whole, rows);
      expect([head.decoded.batch.count, tail!.decoded.batch.count]).toEqual([rows, 3 - rows]);
      expect([head.raw.next, tail!.raw.next]).toEqual([tail!.raw.offsets[0], raw.next]);
      expect([...head.raw.offsets, ...tail!.raw.offsets]).toEqual(raw.offsets);
      for (const part of [head, tail!]) expect(cut(part.decoded)).toEqual(cut(decoder.decode(part.raw, at)));
    }
    expect(splitAt(whole, 3)).toEqual([whole, undefined]);
  });
});
