import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newRows } from '../../features/rows.ts';
import { batchOf, compileFor, createRun, type LogEvent, memoryStore, timeline } from '../support/feature-run.ts';

const hour = 3_600_000;
const minute = 60_000;
const deduplication = { windowMs: hour, idsPerKey: 1000 };
const groups = [{ entity: 'card', windows: ['1d'], aggregates: ['count', 'sum(amount)'] }];
const set = compileFor(groups, { deduplication, allowedLatenessMs: hour });

const eventParts = {
  id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
  gap: fc.integer({ min: -10, max: 30 }),
  amount: fc.integer({ min: 0, max: 1000 }),
  reload: fc.boolean(),
};
const eventArbitrary = fc.record({ ...eventParts, card: fc.constantFrom('x', 'y') });

/** Of each source key, the events whose id did not come before, within the window of the newest or of their own event time. */
function firsts(log: readonly LogEvent[]): boolean[] {
  const applied: { id?: string; card?: string; mark: number }[] = [];
  return log.map(({ id, card, time }) => {
    const before = applied.filter((other) => other.card === card);
    const mark = Math.max(time, ...before.map((other) => other.mark));
    const newest = Math.max(...before.map((other) => other.mark));
    const kept = before.filter((other) => other.mark > newest - 3 * hour);
    const isWithin = (other: { mark: number }) => mark - other.mark < hour || Math.abs(time - other.mark) < hour;
    const repeats = kept.some((other) => other.id === id && isWithin(other));
    if (!repeats) applied.push({ id, card, mark });
    return !repeats;
  });
}

describe('repeated transactions', () => {
  it('are left out, whether the state stays in memory or not', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(eventArbitrary, { minLength: 1, maxLength: 60, size: 'max' }), async (raw) => {
        const run = createRun(set, 1);
        const log = timeline(raw, minute);
        const wanted = firsts(log);
        for (const [row, event] of log.entries()) expect((await run.apply(event)) !== undefined).toBe(wanted[row]);
      }),
      { numRuns: 100 },
    );
  });

  it('are told from firsts when all is applied again and the ids that are there have forgotten them', async () => {
    const store = memoryStore();
    const event = (id: string, time: number): LogEvent => ({ id, card: 'x', time: time * minute, amount: 1 });
    const log = [event('a', 0), event('b', 1), event('a', 2), ...[300, 600, 900].map((time) => event(`${time}`, time))];
    const first = createRun(set, 1, store);
    for (const one of log) await first.apply(one);
    // The store has the ids of all, and has lost the card.
    const { changes } = first.engine.takeChanges('log:0', log.length);
    await store.flush(
      'log:0',
      changes.filter(({ type }) => type === '@ids'),
      0,
    );
    const again = createRun(set, 1, store);
    for (const [offset, one] of log.entries()) {
      const batch = batchOf([one], offset);
      again.engine.replay(batch, await again.engine.load(batch, 'log:0'), 'log:0');
    }
    const probe = batchOf([event('probe', 910)], log.length);
    const rows = newRows(2);
    again.engine.apply(probe, await again.engine.load(probe, 'log:0'), 'log:0', rows);
    expect([...rows.values.subarray(0, 2)]).toEqual([6, 0.06]);
  });

  it('are told apart from events that are read again after a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(eventArbitrary, { minLength: 2, maxLength: 40, size: 'max' }),
        fc.nat(),
        fc.nat(),
        fc.nat(15),
        async (raw, a, b, some) => {
          const log = timeline(raw, minute);
          const [crash, fence] = [(a % log.length) + 1, b % ((a % log.length) + 1)];
          const store = memoryStore();
          const first = createRun(set, 1, store);
          for (const event of log.slice(0, crash)) await first.apply({ ...event, reload: false });
          // What was stored reaches beyond the fence: some of a flush, ids without their cards and cards without their ids.
          const { changes } = first.engine.takeChanges('log:0', 0);
          const stored = changes.filter((_, index) => ((some >> index) & 1) === 1);
          await store.flush('log:0', stored, crash);
          const again = createRun(set, 1, store);
          const replayed = batchOf(log.slice(fence, crash), fence);
          // The events before the fence were stored by an earlier flush, but for those of this test's half: apply them first.
          const before = batchOf(log.slice(0, fence), 0);
          again.engine.replay(before, await again.engine.load(before, 'log:0'), 'log:0');
          again.engine.replay(replayed, await again.engine.load(replayed, 'log:0'), 'log:0');
          const undisturbed = createRun(set, 1);
          for (const event of log.slice(0, crash)) await undisturbed.apply({ ...event, reload: false });
          for (const card of ['x', 'y']) {
            const probe = batchOf([{ id: 'probe', card, time: log[log.length - 1].time + hour }], crash);
            const [one, other] = [newRows(2), newRows(2)];
            again.engine.apply(probe, await again.engine.load(probe, 'log:0'), 'log:0', one);
            undisturbed.engine.apply(probe, await undisturbed.engine.load(probe, 'log:0'), 'log:0', other);
            expect([...one.values]).toEqual([...other.values]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('are recognised however late they come', async () => {
    const run = createRun(set, 1);
    const start = 1_700_000_000_000;
    await run.apply({ id: 'new', time: start });
    expect(await run.apply({ id: 'old', time: start - 20 * hour })).toBeDefined();
    expect(await run.apply({ id: 'old', time: start - 20 * hour })).toBeUndefined();
  });

  it('are remembered up to a cap', async () => {
    const small = compileFor(groups, { deduplication: { windowMs: 24 * hour, idsPerKey: 10 } });
    const run = createRun(small, 1);
    const start = 1_700_000_000_000;
    for (let n = 0; n < 50; n++) await run.apply({ id: `t${n}`, time: start + n });
    expect(await run.apply({ id: 't45', time: start + 60 })).toBeUndefined();
    expect(await run.apply({ id: 't5', time: start + 61 })).toBeDefined();
    await run.reload();
    expect(await run.apply({ id: 't49', time: start + 62 })).toBeUndefined();
    expect(run.store.bytes()).toBeLessThan(1500);
  });

  it('are recognised behind a split, where they repeat what the parent has read to its end, also when the child is read again', async () => {
    const start = 1_700_000_000_000;
    const event = (id: string, after: number): LogEvent => ({ id, card: 'x', time: start + after * minute, amount: 1 });
    const store = memoryStore();
    const parent = createRun(set, 1, store);
    for (const [at, id] of ['a', 'b'].entries()) await parent.apply(event(id, at));
    await parent.reload();

    const log = [event('b', 2), event('c', 3), event('c', 4), event('a', 30), event('a', 90), event('b', 91)];
    const child = (ancestors?: readonly number[]) => {
      const { engine } = createRun(set, 0, store);
      engine.gain('log:1', 2, ancestors && (() => ancestors));
      return engine;
    };
    const repeats = async (engine: ReturnType<typeof child>) => {
      const batch = batchOf(log, 0);
      const applied = engine.apply(batch, await engine.load(batch, 'log:1'), 'log:1', newRows(2));
      return [...applied.isRepeat.subarray(0, log.length)];
    };
    // Nobody knows which came first where the one did not come from the other.
    expect(await repeats(child([]))).toEqual([0, 0, 1, 0, 0, 0]);
    expect(await repeats(child())).toEqual([0, 0, 1, 0, 0, 0]);

    // The process that had the parent goes on with the child.
    parent.engine.lose('log:0');
    parent.engine.gain('log:1', 2, () => [0]);
    expect(await repeats(parent.engine)).toEqual([1, 0, 1, 1, 0, 0]);

    const engine = child([0]);
    expect(await repeats(engine)).toEqual([1, 0, 1, 1, 0, 0]);
    // The ids are stored, the card is not.
    const { changes } = engine.takeChanges('log:1', log.length);
    const isId = ({ type }: { readonly type: string }) => type === '@ids';
    await store.flush('log:1', changes.filter(isId), 0);
    const again = child([0]);
    const batch = batchOf(log, 0);
    again.replay(batch, await again.load(batch, 'log:1'), 'log:1');
    const rows = newRows(2);
    const probe = batchOf([event('probe', 92)], log.length);
    again.apply(probe, await again.load(probe, 'log:1'), 'log:1', rows);
    // Two of the parent, three of the child, and the probe.
    expect(rows.values[0]).toBe(6);
  });

  it('are judged behind a split as they were, when the ids that are there have forgotten some of them', async () => {
    const eventOf = (card: string) => fc.record({ ...eventParts, card: fc.constant(card) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(eventOf('x'), { minLength: 1, maxLength: 10 }),
        fc.array(eventOf('x'), { minLength: 1, maxLength: 40, size: 'max' }),
        async (before, after) => {
          const log = timeline([...before, ...after], 5 * minute);
          const store = memoryStore();
          const parent = createRun(set, 1, store);
          for (const event of log.slice(0, before.length)) await parent.apply({ ...event, reload: false });
          await parent.reload();
          const child = () => {
            const { engine } = createRun(set, 0, store);
            engine.gain('log:1', 2, () => [0]);
            return engine;
          };
          const scored = child();
          const batch = batchOf(log.slice(before.length), 0);
          const rows = newRows(2);
          scored.apply(batch, await scored.load(batch, 'log:1'), 'log:1', rows);
          const { changes } = scored.takeChanges('log:1', batch.count);
          const ids = changes.filter(({ type }) => type === '@ids');
          await store.flush('log:1', ids, 0);

          const again = child();
          again.replay(batch, await again.load(batch, 'log:1'), 'log:1');
          const probe = batchOf([{ id: 'probe', card: 'x', time: log[log.length - 1].time + hour }], batch.count);
          const valuesOf = async (engine: typeof again) => {
            engine.apply(probe, await engine.load(probe, 'log:1'), 'log:1', rows);
            return [...rows.values.subarray(0, 2)];
          };
          expect(await valuesOf(again)).toEqual(await valuesOf(scored));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are not looked for when nobody asks', async () => {
    const run = createRun(compileFor(groups), 1);
    for (let n = 0; n < 2; n++) await run.apply({ id: 'same', time: 1_700_000_000_000 });
    expect((await run.apply({ id: 'same', time: 1_700_000_000_000 }))!.get('card.count.1d')!.value).toBe(3);
  });
});
