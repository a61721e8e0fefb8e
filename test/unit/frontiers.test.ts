import { describe, expect, it } from '@jest/globals';
import { decodeFrontier, frontierChange } from '../../features/frontier.ts';
import { createFrontiers, type Frontiers } from '../../features/frontiers.ts';
import type { StateStore } from '../../features/store.ts';
import { clockAt } from '../support/clock.ts';
import { heldStore } from '../support/feature-process.ts';

function createFleet(processes: number) {
  let now = 0;
  const { store } = heldStore();
  const clock = clockAt(() => now);
  const fleet = Array.from({ length: processes }, () => createFrontiers(store, clock));
  const flush = (of: Frontiers, partition: string, through = 7) =>
    store.flush(partition, of.take(partition, through), through);
  return { store, fleet, flush, tick: (ms: number) => (now += ms) };
}

describe('frontiers', () => {
  it('survive the store; damaged, they say nothing', () => {
    const frontier = { time: 1_522_540_831_000.5, state: 'at-end', saidAt: 1e12, through: 2 ** 50 } as const;
    const { bytes } = frontierChange(frontier, 7);
    expect(decodeFrontier(bytes)).toEqual(frontier);
    bytes[3] ^= 1;
    expect(decodeFrontier(bytes).time).toBe(Number.NEGATIVE_INFINITY);
    expect(decodeFrontier(bytes.subarray(1))).toMatchObject({ time: Number.NEGATIVE_INFINITY, through: -1 });
  });

  it('are seen at once where they are owned, and elsewhere when they are stored and read', async () => {
    const { fleet, flush } = createFleet(2);
    const [one, two] = fleet;
    one.own('t:0');
    let changes = 0;
    const stop = one.listen(() => changes++);
    one.say('t:0', 100, 'reading');
    one.say('t:0', 100, 'reading');
    expect([one.of('t:0')?.time, changes]).toEqual([100, 1]);
    stop();
    await two.learn();
    expect(two.of('t:0')).toBeUndefined();
    await flush(one, 't:0');
    await two.learn();
    expect(two.of('t:0')).toEqual({ time: 100, state: 'reading', saidAt: 0, through: 7 });
    // Also back, and at the same time another state.
    one.say('t:0', 50, 'waiting');
    await flush(one, 't:0');
    await two.learn();
    expect(two.of('t:0')).toMatchObject({ time: 50, state: 'waiting' });
  });

  it('say through where the state of another partition is stored, not of an own one', async () => {
    const { fleet, flush } = createFleet(2);
    const [one, two] = fleet;
    one.own('t:0');
    one.say('t:0', 100, 'reading');
    await flush(one, 't:0');
    expect(two.storedThrough('t:0')).toBe(-1);
    await two.learn();
    expect([one.storedThrough('t:0'), two.storedThrough('t:0')]).toEqual([-1, 7]);
    // What it makes anew was further, and is less until it has got there again.
    one.say('t:0', 50, 'reading');
    await flush(one, 't:0', 5);
    await two.learn();
    expect([two.of('t:0')?.time, two.storedThrough('t:0')]).toEqual([50, 7]);
    // Whoever is to own it asks for its fence, which says what has to be made anew.
    two.own('t:0');
    expect(two.storedThrough('t:0')).toBe(-1);
  });

  it('of a new owner win over the former one, which wakes up', async () => {
    const { fleet, flush } = createFleet(3);
    const [former, owner, other] = fleet;
    former.own('t:0');
    former.say('t:0', 10, 'reading');
    for (let n = 0; n < 3; n++) await flush(former, 't:0');
    owner.own('t:0');
    await owner.learn();
    expect(owner.of('t:0')?.time).toBe(10);
    owner.say('t:0', 20, 'reading');
    await flush(owner, 't:0');
    await flush(former, 't:0');
    await other.learn();
    expect(other.of('t:0')?.time).toBe(20);
  });

  it('are read anew when a partition is gained or lost while they are read', async () => {
    const { store, fleet, flush } = createFleet(1);
    fleet[0].own('t:0');
    fleet[0].say('t:0', 10, 'reading');
    for (let n = 0; n < 3; n++) await flush(fleet[0], 't:0');
    let during = () => {};
    const slow: StateStore = {
      ...store,
      async load(requests, owned) {
        const answers = await store.load(requests, owned);
        during();
        during = () => {};
        return answers;
      },
    };
    const heir = createFrontiers(
      slow,
      clockAt(() => 0),
    );
    await heir.learn();
    during = () => heir.own('t:0');
    await heir.learn();
    heir.say('t:0', 30, 'reading');
    await store.flush('t:0', heir.take('t:0', 0), 0);
    await fleet[0].learn();
    const reader = createFrontiers(
      store,
      clockAt(() => 0),
    );
    await reader.learn();
    expect(reader.of('t:0')?.time).toBe(30);
  });

  it('tell who gets on from who does not', async () => {
    const { fleet, flush, tick } = createFleet(2);
    const [one, two] = fleet;
    one.own('t:0');
    tick(5);
    expect(two.movedAt('t:0')).toBe(5);
    const said = async (time: number, state: 'reading' | 'waiting') => {
      tick(10);
      one.say('t:0', time, state);
      await flush(one, 't:0');
      await two.learn();
      return two.movedAt('t:0');
    };
    expect(await said(1, 'reading')).toBe(15);
    expect(await said(1, 'reading')).toBe(15);
    expect(await said(2, 'reading')).toBe(35);
    expect(await said(2, 'waiting')).toBe(45);
    // Who waits for others, and says so, gets on with them.
    expect(await said(2, 'waiting')).toBe(55);
  });

  it('tell what was loaded before from what is stored by now', async () => {
    const { fleet, flush } = createFleet(2);
    const [one, two] = fleet;
    const sights: number[] = [];
    const said = async (partition: string, time: number) => {
      one.say(partition, time, 'reading');
      await flush(one, partition);
      await two.learn();
      sights.push(two.sight());
    };
    for (const partition of ['t:0', 't:1']) one.own(partition);
    await said('t:0', 100);
    await said('t:1', 50);
    await said('t:0', 110);
    await said('t:0', 120);
    await said('t:1', 60);
    await said('t:1', 60);
    const infinite = Number.POSITIVE_INFINITY;
    expect(sights.map((sight) => two.missesFrom(sight))).toEqual([-infinite, 50, 50, 50, 60, infinite]);
    for (let time = 121; time < 400; time++) await said('t:0', time);
    expect(two.missesFrom(sights[5])).toBe(-infinite);
    expect(two.missesFrom(sights[sights.length - 2])).toBe(398);
  });
});
