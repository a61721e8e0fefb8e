import { describe, expect, it } from '@jest/globals';
import { demandPositions, planMoves, planned, type ResetTarget } from '../../consumers/offset-plan.ts';

const offsets = [
  { partition: 0, committed: 50, begin: 10, end: 90 },
  { partition: 1, committed: undefined, begin: 0, end: 7 },
];
const moved = (target: ResetTarget, only?: number[], atTime = new Map<number, number>()) =>
  planMoves('t', offsets, target, only, atTime).map(({ name, to }) => [name, to]);

const planOf = (to: number, fence: number | undefined, beyond = 0, start: 'earliest' | 'latest' = 'earliest') =>
  planned({ ...offsets[0], name: 't:0', to, asked: to }, fence, beyond, start);

describe('the plan of a reset', () => {
  it('moves every partition, or those that are named, within its log', () => {
    expect(moved({ to: 'earliest' })).toEqual([
      ['t:0', 10],
      ['t:1', 0],
    ]);
    expect(moved({ to: 'latest' }, [0])).toEqual([['t:0', 90]]);
    expect(moved({ offset: 8 })).toEqual([
      ['t:0', 10],
      ['t:1', 7],
    ]);
    expect(moved({ time: 1 }, undefined, new Map([[0, 44]]))).toEqual([
      ['t:0', 44],
      ['t:1', 7],
    ]);
    expect(planMoves('t', offsets, { offset: 8 }, undefined, new Map()).map(({ asked }) => asked)).toEqual([8, 8]);
    expect(() => moved({ to: 'latest' }, [0, 2])).toThrow('topic t has no partition 2: it has 2, from 0');
  });

  it('keeps the state where it reaches no further than the new position', () => {
    expect(planOf(60, 45)).toMatchObject({ isRewound: false, reapplied: 15, skipped: 10, repeated: 0 });
    expect(planOf(48, 48)).toMatchObject({ isRewound: false, reapplied: 0, skipped: 0, repeated: 2 });
    expect(planOf(60, 45).knownFrom).toBeUndefined();
  });

  it('makes the state anew from the beginning of the log where it reaches beyond, in its fence or in a single entity', () => {
    for (const plan of [planOf(30, 45), planOf(30, 20, 1), planOf(30, undefined, 1)])
      expect(plan).toMatchObject({ isRewound: true, reapplied: 20, repeated: 20, skipped: 0, knownFrom: 10 });
  });

  it('tells what the log deleted before it was read from what is skipped', () => {
    const cut = { ...offsets[0], committed: 4, name: 't:0' };
    expect(planned({ ...cut, to: 12, asked: 12 }, 4, 0, 'earliest')).toMatchObject({
      skipped: 2,
      lost: 6,
      repeated: 0,
    });
    expect(planned({ ...cut, to: 10, asked: 10 }, 4, 0, 'earliest')).toMatchObject({
      skipped: 0,
      lost: 6,
      repeated: 0,
    });
    expect(planOf(60, 45).lost).toBe(0);
  });

  it("is refused where state is another group's", () => {
    const of = { group: 'g', topic: 't', brokers: ['b:1'] };
    const without = (committed: number | undefined, fence: number | undefined, beyond = 0) =>
      planned({ ...offsets[0], committed, name: 't:0', to: 20, asked: 20 }, fence, beyond, 'earliest');
    for (const plan of [without(undefined, 11), without(undefined, undefined, 1)])
      expect(() => demandPositions('j', of, [planOf(30, 45), plan])).toThrow(
        'group g has no position in t:0, but job j has state of it',
      );
    // Nothing is stored yet, or only that there was nothing; and what is stored is the group's own.
    for (const plan of [without(undefined, undefined), without(undefined, 10), without(50, 45, 1)])
      expect(() => demandPositions('j', of, [plan])).not.toThrow();
  });

  it('says what was never published where there was no position', () => {
    const first = { ...offsets[1], name: 't:1' };
    expect(planned({ ...first, to: 5, asked: 5 }, undefined, 0, 'earliest')).toMatchObject({ skipped: 5, repeated: 0 });
    expect(planned({ ...first, to: 5, asked: 5 }, undefined, 0, 'latest')).toMatchObject({
      skipped: 0,
      repeated: 0,
      reapplied: 5,
    });
  });
});
