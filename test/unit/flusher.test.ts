import { describe, expect, it, jest } from '@jest/globals';
import type { FeatureEngine } from '../../features/engine.ts';
import { createFlusher } from '../../features/flusher.ts';
import { LostStateError, type StateStore } from '../../features/store.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clockAt } from '../support/clock.ts';

/** A store whose flushes end when the test says so. */
function heldStore() {
  const flushes: { fence: number; ids: string[]; resolve: () => void; reject: (error: Error) => void }[] = [];
  const store: Pick<StateStore, 'flush'> = {
    flush: (_partition, changes, fence) =>
      new Promise<void>((resolve, reject) => {
        flushes.push({ fence, ids: changes.map((change) => change.id), resolve, reject });
      }),
  };
  return { store: store as StateStore, flushes };
}

/** So many changed sub-states are many. */
const many = 5;

/** Hands out the ids put into `dirty`, as an engine would. */
function fakeEngine(dirty: string[]) {
  let unsettled = 0;
  const engine: Pick<FeatureEngine, 'takeChanges' | 'dropChanges' | 'hasManyChanges'> = {
    hasManyChanges: () => dirty.length >= many,
    dropChanges: () => void dirty.splice(0),
    takeChanges: () => {
      const changes = dirty.splice(0).map((id) => ({ type: 'card', id, offset: 1, bytes: new Uint8Array(0) }));
      unsettled += changes.length;
      return { changes, settle: () => (unsettled -= changes.length) };
    },
  };
  return { engine: engine as FeatureEngine, unsettled: () => unsettled };
}

function setUp(
  intervalMs = 0,
  mayRepeat = () => true,
  beforeFlush?: () => Promise<void>,
  onDegraded?: (error: WeirError) => void,
) {
  let now = 0;
  const dirty: string[] = [];
  const { store, flushes } = heldStore();
  const { engine, unsettled } = fakeEngine(dirty);
  const fences: number[] = [];
  const troubles: unknown[] = [];
  const flusher = createFlusher({
    engine,
    store,
    partition: 't:0',
    clock: clockAt(() => now),
    intervalMs,
    beforeFlush,
    onDegraded,
    onFlushed: (fence) => fences.push(fence),
    onTrouble: (error) => troubles.push(error),
    wait: async () => mayRepeat(),
  });
  return { flusher, dirty, flushes, fences, troubles, unsettled, tick: (ms: number) => (now += ms) };
}

const away = new WeirError('STORE', 'away');
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('flusher', () => {
  it('begins no flush between applying and published', async () => {
    const { flusher, dirty, flushes, fences } = setUp();
    flusher.applying();
    dirty.push('a');
    await settled();
    expect(flushes).toHaveLength(0);
    await flusher.published(10);
    expect(flushes.map(({ fence, ids }) => ({ fence, ids }))).toEqual([{ fence: 10, ids: ['a'] }]);

    // While that flush is under way a second batch is applied: what the store gets must not move.
    flusher.applying();
    dirty.push('b');
    flushes[0].resolve();
    await settled();
    expect(fences).toEqual([10]);
    expect(flushes).toHaveLength(1);
    await flusher.published(20);
    expect(flushes[1]).toMatchObject({ fence: 20, ids: ['b'] });
    flushes[1].resolve();
    await flusher.drain();
  });

  it('writes what changes within the interval once', async () => {
    const { flusher, dirty, flushes, tick } = setUp(1000);
    await flusher.published(1);
    flushes[0].resolve();
    await settled();
    for (let position = 2; position < 6; position++) {
      flusher.applying();
      dirty.push(`id-${position}`);
      await flusher.published(position);
    }
    expect(flushes).toHaveLength(1);
    tick(1000);
    await flusher.published(6);
    expect(flushes[1]).toMatchObject({ fence: 6, ids: ['id-2', 'id-3', 'id-4', 'id-5'] });
    flushes[1].resolve();
    await flusher.drain();
  });

  it('waits for a slow flush once much has changed behind it, and no earlier', async () => {
    const { flusher, dirty, flushes, fences } = setUp();
    let at = 10;
    /** Whether it went through without the store's answer. */
    async function publish(ids: number): Promise<{ isThrough: boolean; published: Promise<void> }> {
      flusher.applying();
      dirty.push(...Array.from({ length: ids }, (_, k) => `id-${k}`));
      let isThrough = false;
      const published = flusher.published(at++).then(() => {
        isThrough = true;
      });
      await settled();
      return { isThrough, published };
    }
    expect(await publish(2 * many)).toMatchObject({ isThrough: true });
    expect(await publish(many - 1)).toMatchObject({ isThrough: true });
    const waiting = await publish(1);
    expect(waiting.isThrough).toBe(false);
    expect(flushes).toHaveLength(1);
    flushes[0].resolve();
    await waiting.published;
    expect(flushes.map(({ ids }) => ids.length)).toEqual([2 * many, many]);
    flushes[1].resolve();
    await flusher.drain();
    expect(fences).toEqual([10, 12]);
  });

  it('stores nothing before what is published is safe', async () => {
    const syncs: { resolve: () => void; reject: (error: Error) => void }[] = [];
    const sync = () => new Promise<void>((resolve, reject) => void syncs.push({ resolve, reject }));
    const { flusher, dirty, flushes, fences } = setUp(0, () => true, sync);
    dirty.push('a');
    await flusher.published(10);
    await settled();
    expect([syncs.length, flushes.length]).toEqual([1, 0]);
    syncs[0].resolve();
    await settled();
    expect(flushes[0]).toMatchObject({ fence: 10, ids: ['a'] });
    flushes[0].resolve();
    await flusher.drain();
    expect(fences).toEqual([10]);
  });

  it.each([
    new WeirError('OUTPUT', 'the disk is full'),
    new WeirError('BROKER', 'the position cannot be committed'),
    new Error('a bug'),
  ])('does not repeat what no repetition mends: %s', async (error) => {
    const { flusher, dirty, flushes, fences, troubles, unsettled } = setUp(
      0,
      () => true,
      () => Promise.reject(error),
    );
    dirty.push('a');
    await flusher.published(10);
    await settled();
    expect([troubles, unsettled()]).toEqual([[error], 0]);
    await expect(flusher.published(20)).rejects.toBe(error);
    await flusher.drain();
    expect([flushes, fences]).toEqual([[], []]);
  });

  it('repeats a failed flush with the same changes before anything newer, and keeps their entities meanwhile', async () => {
    const { flusher, dirty, flushes, fences, troubles, unsettled } = setUp();
    dirty.push('a');
    await flusher.published(10);
    flushes[0].reject(away);
    await settled();
    expect(troubles).toHaveLength(1);
    expect(flushes[1]).toMatchObject({ fence: 10, ids: ['a'] });
    expect(unsettled()).toBe(1);
    let isThrough = false;
    const published = flusher.published(20).then(() => {
      isThrough = true;
    });
    await settled();
    expect(isThrough).toBe(false);
    flushes[1].resolve();
    await published;
    expect(fences).toEqual([10]);
    expect(unsettled()).toBe(0);
    flushes[2].resolve();
    await flusher.drain();
    expect(fences).toEqual([10, 20]);
  });

  it('drains the last changes, and gives up after one try', async () => {
    const { flusher, dirty, flushes, fences } = setUp(1000);
    await flusher.published(1);
    flushes[0].resolve();
    await settled();
    dirty.push('z');
    await flusher.published(2);
    const drained = flusher.drain();
    await settled();
    flushes[1].reject(away);
    await drained;
    expect(fences).toEqual([1]);
    expect(flushes).toHaveLength(2);
  });

  it('repeats no failed flush once the partition is being left', async () => {
    let isLeaving = false;
    const { flusher, dirty, flushes, fences, unsettled } = setUp(0, () => !isLeaving);
    dirty.push('a');
    await flusher.published(10);
    flushes[0].reject(away);
    await settled();
    expect(flushes).toHaveLength(2);
    const waiting = flusher.published(20);
    isLeaving = true;
    flushes[1].reject(away);
    await waiting;
    await flusher.drain();
    expect(flushes).toHaveLength(2);
    expect([fences, unsettled()]).toEqual([[], 0]);
  });

  it('gives up what the store has lost the ground for, and says so', async () => {
    const { flusher, dirty, flushes, fences, unsettled } = setUp();
    const loss = new WeirError('STORE', 'lost', { cause: new LostStateError('gone') });
    dirty.push('a');
    await flusher.published(10);
    flushes[0].reject(loss);
    await settled();
    await expect(flusher.published(20)).rejects.toBe(loss);
    await flusher.drain();
    expect([flushes.length, fences, unsettled()]).toEqual([1, [], 0]);
  });

  it('stores news without changes with the next flush, and urgent ones at once', async () => {
    const { flusher, flushes, tick } = setUp(1000);
    await flusher.published(10);
    flusher.tell(true);
    flushes[0].resolve();
    await settled();
    expect(flushes).toHaveLength(2);
    flushes[1].resolve();
    await settled();
    flusher.tell(false);
    await settled();
    expect(flushes).toHaveLength(2);
    tick(1000);
    await flusher.published(10);
    expect(flushes).toHaveLength(3);
    flushes[2].resolve();
    await settled();
    // Not of what is applied and not published.
    flusher.applying();
    flusher.tell(true);
    await settled();
    expect(flushes).toHaveLength(3);
    await flusher.published(20);
    expect(flushes[3]).toMatchObject({ fence: 20 });
    flusher.tell(false);
    flushes[3].resolve();
    const drained = flusher.drain();
    await settled();
    expect(flushes).toHaveLength(5);
    flushes[4].resolve();
    await drained;
  });

  it('writes the fence of a silent stream again, and tells of what the store has lost meanwhile', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      const { flusher, flushes, fences, tick } = setUp(1000);
      await flusher.published(10);
      flushes[0].resolve();
      await settled();
      tick(9_999);
      jest.advanceTimersByTime(9_999);
      expect(flushes).toHaveLength(1);
      tick(1);
      jest.advanceTimersByTime(1);
      expect(flushes.map(({ fence, ids }) => ({ fence, ids }))).toEqual([
        { fence: 10, ids: [] },
        { fence: 10, ids: [] },
      ]);
      flushes[1].resolve();
      await settled();
      expect(fences).toEqual([10, 10]);
      flusher.demand();
      tick(10_000);
      jest.advanceTimersByTime(10_000);
      const lost = new WeirError('STORE', 'lost', { cause: new LostStateError('lost') });
      flushes[2].reject(lost);
      await settled();
      expect(() => flusher.demand()).toThrow(lost);
    } finally {
      jest.useRealTimers();
    }
  });

  it('goes on without the store where that is wanted, stores nothing more, and ends when the store takes writes again', async () => {
    const degradations: unknown[] = [];
    const { flusher, dirty, flushes, troubles, unsettled } = setUp(0, undefined, undefined, (error) =>
      degradations.push(error),
    );
    dirty.push('a');
    await flusher.published(10);
    flushes[0].resolve();
    await settled();
    dirty.push('b');
    await flusher.published(20);
    expect(flusher.isDegraded).toBe(false);
    flushes[1].reject(away);
    await settled();
    expect({ isDegraded: flusher.isDegraded, degradations, unsettled: unsettled() }).toEqual({
      isDegraded: true,
      degradations: [away],
      unsettled: 0,
    });
    dirty.push('c');
    await flusher.published(30);
    flusher.demand();
    expect(dirty).toEqual([]);
    // It asks with the fence that it knows to be stored, and with no state.
    expect(flushes.slice(2).map(({ fence, ids }) => ({ fence, ids }))).toEqual([{ fence: 10, ids: [] }]);
    flushes[2].reject(away);
    await settled();
    expect(flushes).toHaveLength(4);
    flushes[3].resolve();
    await settled();
    expect(() => flusher.demand()).toThrow(/the store is back/);
    await expect(flusher.published(40)).rejects.toThrow(/the store is back/);
    await flusher.drain();
    expect({ flushes: flushes.length, troubles }).toEqual({ flushes: 4, troubles: [] });
  });

  it('waits for the store where the fault is another, or going on is not wanted', async () => {
    const lost = new WeirError('STORE', 'lost', { cause: new LostStateError('lost') });
    expect(setUp().flusher.degrade(away)).toBe(false);
    const willing = setUp(0, undefined, undefined, () => {}).flusher;
    expect([lost, new WeirError('BROKER', 'gone'), away].map((error) => willing.degrade(error))).toEqual([
      false,
      false,
      true,
    ]);
    willing.abandon();
  });
});
