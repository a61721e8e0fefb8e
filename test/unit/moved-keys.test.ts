import { describe, expect, it } from '@jest/globals';
import { createGrowth } from '../../consumers/kafka/growth.ts';
import type { StateStore } from '../../features/store.ts';
import { clockAt } from '../support/clock.ts';
import { batchOf, createProcess, heldStore, minute } from '../support/feature-process.ts';

describe('a process that comes after the topic has grown', () => {
  /** It owns both partitions; card c has moved from t:0 to t:1 at the given minute. */
  function heir(store: StateStore, grown = 0) {
    const process = createProcess(store, 100, 'card');
    process.engine.gain('t:0', 2);
    process.engine.gain('t:1', 2);
    process.engine.counted(2, undefined, grown * minute);
    return process;
  }

  it('marks a moved key while its former partition is made anew', async () => {
    const { engine, apply } = heir(heldStore().store);
    engine.recovering('t:0', true);
    const elsewhere = batchOf([0], 'd');
    engine.replay(elsewhere, await engine.load(elsewhere, 't:0'), 't:0');
    expect(await apply('t:1', batchOf([5]), 'card.count.1h')).toEqual(['1 stale']);
    const former = batchOf([1, 2]);
    engine.replay(former, await engine.load(former, 't:0'), 't:0');
    engine.recovering('t:0', false);
    expect(await apply('t:1', batchOf([6]), 'card.count.1h')).toEqual([4]);
  });

  it('marks it while the store is away: what other processes apply to its former partition is not seen', async () => {
    const { engine, apply, applyHeld } = heir(heldStore().store);
    await apply('t:0', batchOf([1]), 'card.count.1h');
    await apply('t:1', batchOf([2]), 'card.count.1h');
    engine.cutOff('t:1');
    expect(applyHeld('t:1', batchOf([5]), 'card.count.1h')).toEqual(['3 stale']);
    engine.recovering('t:1', false);
    expect(await apply('t:1', batchOf([6]), 'card.count.1h')).toEqual([4]);
  });

  it('marks it from the moment that its former partition may be behind where partitions are not kept in step', async () => {
    const { engine, apply } = createProcess(heldStore().store, 100, 'card', undefined, Number.POSITIVE_INFINITY);
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    engine.counted(2, undefined, 0);
    engine.recovering('t:0', true);
    expect(await apply('t:1', batchOf([5]), 'card.count.1h')).toEqual(['1 stale']);
  });

  it('marks it where the store has lost what the former partition has of it, and reads it again', async () => {
    const { store } = heldStore();
    let lost: readonly string[] | undefined = ['t:0'];
    const load: StateStore['load'] = async (...asked) =>
      (await store.load(...asked)).map((answer) => ({ ...answer, lost }));
    const { engine, apply, tick } = createProcess({ ...store, load }, 100, 'card');
    engine.gain('t:1', 2);
    engine.counted(2, undefined, 0);
    expect(await apply('t:1', batchOf([5]), 'card.count.1h')).toEqual(['1 stale']);
    const former = createProcess(store, 100, 'card');
    former.engine.gain('t:0', 2);
    await former.apply('t:0', batchOf([1, 2]), 'card.count.1h');
    await former.flush('t:0');
    lost = undefined;
    tick(101);
    expect(await apply('t:1', batchOf([6]), 'card.count.1h')).toEqual([4]);
  });

  it('marks windows of it that reach back to where the former log has been cut', async () => {
    const { engine, apply, knownFrom } = heir(heldStore().store, 90);
    engine.truncated('t:0', 100);
    const first = batchOf([100], 'd');
    engine.replay(first, await engine.load(first, 't:0'), 't:0');
    expect(await apply('t:1', batchOf([110, 161]), 'card.count.1h')).toEqual(['1 incomplete', 2]);
    expect(knownFrom()).toEqual([100, Number.NaN]);
  });

  it('but not further than keys have moved, also where nothing of that log is left', async () => {
    const { engine, apply, knownFrom } = heir(heldStore().store, 20);
    engine.truncated('t:0', 100);
    // A quarter of an hour for producers to hear of it.
    expect(await apply('t:1', batchOf([60, 95]), 'card.count.1h')).toEqual(['1 incomplete', 2]);
    expect(knownFrom()).toEqual([35, Number.NaN]);
  });

  it('marks and asks for nothing more once windows end behind the growth', async () => {
    const { engine, apply } = heir(heldStore().store, 20);
    expect(engine.asksOfOthers(94 * minute)).toMatchObject({ undelayed: true });
    engine.recovering('t:0', true);
    const behind = batchOf([90], 'd');
    engine.replay(behind, await engine.load(behind, 't:0'), 't:0');
    const counts = await apply('t:1', batchOf([94, 95]), 'card.count.1h', 0);
    expect(counts).toEqual(['1 stale', 2]);
  });

  it('finds out by itself where nobody has seen it, also where it has all partitions', async () => {
    const { store } = heldStore();
    const { engine, apply, tick } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    await apply('t:0', batchOf([0, 1]), 'card.count.1h');
    expect(await apply('t:1', batchOf([2], 'c', 'x'), 'card.count.1h')).toEqual([3]);
    expect(await apply('t:1', batchOf([3]), 'card.count.1h', 1 * minute)).toEqual(['4 stale']);
    // An hour, and a quarter of one, later it is over, until another key is met that has moved since.
    expect(await apply('t:1', batchOf([75]), 'card.count.1h', 1 * minute)).toEqual([1]);
    await apply('t:0', batchOf([76], 'd'), 'card.count.1h');
    tick(77 * minute);
    expect(await apply('t:1', batchOf([77], 'd'), 'card.count.1h', 1 * minute)).toEqual(['2 stale']);
  });
});

describe('what is kept with positions of a topic', () => {
  let now = 1_000;
  const growthOf = (partitions: number, ...marks: string[]) => {
    const growth = createGrowth(clockAt(() => now));
    growth.counted(partitions);
    growth.learn(marks);
    return growth;
  };

  it('says how many partitions it had, and when it has grown', () => {
    const before = growthOf(4);
    expect(before.at()).toBe(Number.NEGATIVE_INFINITY);
    expect(growthOf(4, before.mark.text).at()).toBe(Number.NEGATIVE_INFINITY);
    const kept = before.mark.text;
    now = 2_000;
    before.counted(8);
    expect(before.at()).toBe(2_000);
    now = 3_000;
    // By who has seen it, and by who finds it out.
    expect(growthOf(8, kept, before.mark.text).at()).toBe(2_000);
    expect(growthOf(8, kept).at()).toBe(3_000);
    expect(growthOf(8, growthOf(8, kept).mark.text).at()).toBe(3_000);
  });

  it('is taken for a growth where it is gone, or of another kind', () => {
    now = 4_000;
    for (const text of ['', 'null', '8', '{"partitions":"8"}']) expect(growthOf(8, text).at()).toBe(4_000);
    // Of others it is known.
    expect(growthOf(8, '', growthOf(8).mark.text).at()).toBe(Number.NEGATIVE_INFINITY);
  });

  it('is told by an output that keeps positions itself', async () => {
    now = 5_000;
    const growth = growthOf(8);
    expect(await growth.mark.continues(growthOf(8).mark.text)).toBe(true);
    expect(growth.at()).toBe(Number.NEGATIVE_INFINITY);
    expect(await growth.mark.continues(growthOf(4).mark.text)).toBe(true);
    expect(growth.at()).toBe(5_000);
  });
});
