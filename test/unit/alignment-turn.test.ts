import { expect, it } from '@jest/globals';
import { createAlignment, type Turn } from '../../consumers/alignment.ts';
import type { Ownership, RawBatch } from '../../consumers/ports.ts';
import type { FrontierState } from '../../features/frontier.ts';
import { createFrontiers } from '../../features/frontiers.ts';
import { WeirError } from '../../runtime/errors.ts';
import { clockAt } from '../support/clock.ts';
import { batchOf, heldStore, minute } from '../support/feature-process.ts';

const infinite = Number.POSITIVE_INFINITY;

/** Partition 0 of a stream whose others may be a minute behind it, long after its events. Partition 1 is another process's. */
function startTwo() {
  let now = 10_000 * minute;
  /** Waits that are not over, and of all of them how long they are. */
  const timers = new Set<{ readonly at: number; readonly done: () => void }>();
  const waits: number[] = [];
  const clock = {
    ...clockAt(() => now),
    after(ms: number, done: () => void) {
      const timer = { at: now + ms, done };
      waits.push(ms);
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  const { store } = heldStore();
  const [here, elsewhere] = [createFrontiers(store, clock), createFrontiers(store, clock)];
  here.own('t:0');
  elsewhere.own('t:1');
  const leaving = new AbortController();
  const told: boolean[] = [];
  const ownership = { stream: 't', partition: 0, partitions: 2 };
  const world = { onTell: () => {}, fault: undefined as Error | undefined, listeners: 0 };
  const alignment = createAlignment({
    config: { within: '1m', patience_ms: 100 * minute },
    allowedLatenessMs: 0,
    flushIntervalMs: 1_000,
    ownership: ownership as Ownership,
    engine: {
      frontiers: {
        ...here,
        listen(onChange) {
          world.listeners++;
          const stop = here.listen(onChange);
          return () => {
            world.listeners--;
            stop();
          };
        },
      },
      asksOfOthers: () => ({ undelayed: true, delayMs: infinite, leadMs: infinite }),
    },
    flusher: {
      tell(isUrgent) {
        told.push(isUrgent);
        world.onTell();
      },
      demand() {
        if (world.fault !== undefined) throw world.fault;
      },
    },
    clock,
    observer: { skewed() {}, held() {} },
    leaving: leaving.signal,
  });
  return {
    ...{ here, elsewhere, leaving, told, waits, timers, world, alignment },
    ownership,
    now: () => now,
    /** Partition 1 stands there, and all know it who ask. */
    async other(time: number, state: FrontierState = 'reading') {
      elsewhere.say('t:1', time, state);
      await store.flush('t:1', elsewhere.take('t:1', 7), 7);
    },
    /** The turn of a batch of events at these minutes. */
    turn(minutes: number[], timestamps: number[] = []) {
      const asked = { turn: undefined as Turn | 'left' | undefined };
      const taking = alignment.turn(batchOf(minutes), { timestamps } as unknown as RawBatch).then((turn) => {
        asked.turn = turn ?? 'left';
      });
      return { asked, taking };
    },
    async tick(ms: number) {
      now += ms;
      for (const timer of timers) {
        if (timer.at > now) continue;
        timers.delete(timer);
        timer.done();
      }
      await settled();
    },
  };
}

/** All that can happen without another word of the test has happened. */
async function settled(): Promise<void> {
  for (let k = 0; k < 20; k++) await new Promise(setImmediate);
}

it('waits while it is ahead, says so to the others at once, and goes on when they have come up', async () => {
  const { here, told, waits, timers, world, other, turn, tick } = startTwo();
  await other(0);
  here.say('t:0', 5 * minute, 'reading');
  here.take('t:0', 1);
  const { asked } = turn([5, 6]);
  await settled();
  expect([here.of('t:0'), told]).toMatchObject([{ time: 5 * minute, state: 'waiting' }, [true]]);
  for (let k = 0; k < 6; k++) await tick(200);
  // Longer each time, and soon again once somebody gets on.
  await other(3 * minute);
  await tick(200);
  await tick(10);
  expect(waits).toEqual([10, 20, 40, 80, 160, 200, 200, 10, 20]);
  expect(asked.turn).toBeUndefined();
  await other(4 * minute);
  await tick(200);
  expect(asked.turn).toMatchObject({ rows: 2, seenBefore: 4 * minute });
  expect(here.of('t:0')?.state).toBe('reading');
  expect([timers.size, world.listeners]).toEqual([0, 0]);
});

it('goes by where the batch before began', async () => {
  const { other, turn } = startTwo();
  await other(4 * minute);
  for (const [minutes, goes] of [
    [[5], true],
    [[100], true],
    [[101], false],
  ] as const) {
    const { asked } = turn([...minutes]);
    await settled();
    expect(asked.turn !== undefined).toBe(goes);
  }
});

it('does not wait for one at its end, as far as that can have had company of what goes on', async () => {
  const { now, tick, other, turn } = startTwo();
  const saidAt = now();
  await other(0, 'at-end');
  await tick(40_000);
  for (const [timestamps, goes] of [
    [[saidAt + 30_000, saidAt], true],
    [[saidAt, saidAt + 30_001], false],
    // A source without times.
    [[Number.NaN, Number.NaN], false],
  ] as const) {
    const { asked } = turn([5, 6], [...timestamps]);
    await settled();
    expect(asked.turn !== undefined).toBe(goes);
  }
});

it('waits for nobody with what happens now', async () => {
  const { other, turn, tick } = startTwo();
  await other(0);
  const present = turn([9_999]);
  await settled();
  expect(present.asked.turn).toMatchObject({ rows: 1, seenBefore: 0 });
  await tick(1);
  // A wild time is no reason to go on either.
  for (const minutes of [[9_999], [10_002]]) {
    const { asked } = turn(minutes);
    await settled();
    expect(asked.turn).toBeUndefined();
  }
});

it('lets a batch pass that has no events', async () => {
  const { other, turn } = startTwo();
  await other(0);
  const first = turn([0]);
  await first.taking;
  await other(-9 * minute);
  const { asked } = turn([]);
  await settled();
  expect(asked.turn).toMatchObject({ rows: 0 });
});

it('waits for partitions that the topic gets', async () => {
  const { ownership, other, turn } = startTwo();
  await other(5 * minute);
  const first = turn([5]);
  await first.taking;
  ownership.partitions = 3;
  const { asked } = turn([6]);
  await settled();
  expect([first.asked.turn, asked.turn]).toMatchObject([{ rows: 1 }, undefined]);
});

it('ends its wait when the partition is left, or what is applied cannot be stored', async () => {
  const left = startTwo();
  await left.other(0);
  const leaving = left.turn([5]);
  await settled();
  left.leaving.abort();
  await leaving.taking;
  expect(leaving.asked.turn).toBe('left');
  // Just before it would wait.
  const sooner = startTwo();
  await sooner.other(0);
  sooner.world.onTell = () => sooner.leaving.abort();
  const gone = sooner.turn([5]);
  await gone.taking;
  expect(gone.asked.turn).toBe('left');

  const failing = startTwo();
  await failing.other(0);
  const { taking } = failing.turn([5]);
  await settled();
  failing.world.fault = new WeirError('STORE', 'away');
  const refused = expect(taking).rejects.toBe(failing.world.fault);
  await failing.tick(10);
  await refused;
});

it('is woken by a partition of the same process, and then tells nobody', async () => {
  const { here, told, timers, turn } = startTwo();
  here.own('t:1');
  here.say('t:1', 0, 'reading');
  const { asked } = turn([5]);
  await settled();
  expect(asked.turn).toBeUndefined();
  here.say('t:1', 5 * minute, 'reading');
  await settled();
  expect(asked.turn).toMatchObject({ rows: 1 });
  expect([told, timers.size]).toEqual([[], 0]);
});

it('has stored at once what others wait for: how far it is, that it is at its end, and that it is so no more', async () => {
  const { here, told, other, turn, alignment, tick } = startTwo();
  const tellsIn = async (minutes: number[]) => {
    await turn(minutes).taking;
    await settled();
    return told.splice(0);
  };
  await other(0);
  // Nothing is known of it elsewhere.
  expect(await tellsIn([0])).toEqual([true]);
  here.take('t:0', 1);
  expect(await tellsIn([0])).toEqual([]);
  expect(await tellsIn([1])).toEqual([]);
  await other(minute / 2);
  await tick(50);
  // By what the other knows it has half of its way left.
  expect(await tellsIn([1])).toEqual([true]);

  alignment.ended();
  expect(told.splice(0)).toEqual([true]);
  here.take('t:0', 2);
  alignment.ended();
  alignment.blocked();
  expect(told.splice(0)).toEqual([]);
  await tick(minute);
  alignment.blocked();
  expect(told.splice(0)).toEqual([true]);
  // One that is far behind needs no word of how far it is, but takes it for read to its end.
  await other(0);
  await tick(50);
  await turn([1]).taking;
  alignment.ended();
  here.take('t:0', 3);
  told.length = 0;
  expect(await tellsIn([1])).toEqual([true]);
});
