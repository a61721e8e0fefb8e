import { describe, expect, it } from '@jest/globals';
import { leasesToTake, leaseToEvenOut } from '../../consumers/kinesis/balance.ts';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { type LeaseView, look } from '../../consumers/kinesis/lease-view.ts';
import { seededRandom } from '../../runtime/random.ts';

const failoverMs = 10_000;
const name = (letter: string) => `host:${letter.repeat(12)}`;

/** Leases of each worker by what goes through them, KB/s; undefined: not measured yet. */
type Loads = Readonly<Record<string, readonly (number | undefined)[]>>;

function viewOf(loads: Loads): LeaseView {
  const leases = Object.entries(loads).flatMap(([owner, of]) =>
    of.map((throughputKBps, index): Lease => {
      const lease = newLease(`${owner}-${index}`, { sequence: 'TRIM_HORIZON', sub: 0 }, []);
      return { ...lease, owner: owner === '' ? undefined : owner, throughputKBps };
    }),
  );
  return look(new Map(), leases, 0);
}

const optionsOf = (worker: string) => ({ worker, failoverMs, maxLeases: 100, random: seededRandom(1) });

/** What the worker takes to even loads out. */
const evens = (worker: string, loads: Loads) => leaseToEvenOut(viewOf(loads), 0, optionsOf(worker))?.throughputKBps;

const [a, b, c] = ['a', 'b', 'c'].map(name);

describe('evening out what goes through shards', () => {
  it('takes the lease that evens it out best, within the share', () => {
    expect(evens(a, { [a]: [10], [b]: [500, 40] })).toBe(40);
    expect(evens(a, { [a]: [10], [b]: [300, 280] })).toBe(280);
    expect(evens(a, { [a]: [10, 20], [b]: [100, 90, 80] })).toBe(100);
  });

  it('takes one for another where all have the same number', () => {
    expect(evens(a, { [a]: [10, 10], [b]: [100, 100] })).toBe(100);
    expect(evens(b, { [a]: [10, 10], [b]: [100, 100] })).toBeUndefined();
  });

  it('lets only the one with the least take from the one with the most', () => {
    const loads = { [a]: [10, 10], [b]: [100, 100], [c]: [50, 50] };
    expect(evens(a, loads)).toBe(100);
    expect(evens(c, loads)).toBeUndefined();
  });

  it('lets alone what gains little, or nothing', () => {
    expect(evens(a, { [a]: [90, 90], [b]: [100, 100] })).toBeUndefined();
    expect(evens(a, { [a]: [1], [b]: [100] })).toBeUndefined();
    expect(evens(a, { [a]: [0, 0], [b]: [0, 0] })).toBeUndefined();
  });

  it('waits until all is known and every lease is somebody’s', () => {
    expect(evens(a, { [a]: [10, 10], [b]: [100, undefined] })).toBeUndefined();
    expect(evens(a, { [a]: [10, 10], [b]: [100, 100], '': [5] })).toBeUndefined();
  });

  it('leaves a fleet alone that has workers of the Kinesis Client Library: they would steal by number what is exchanged', () => {
    const java = '5b2f0c6e-4e5d-4f6a-9b1e-0123456789ab';
    expect(evens(a, { [a]: [10, 10], [java]: [100, 100] })).toBeUndefined();
    expect(evens(a, { [a]: [10, 10], [b]: [100, 100], [java]: [50, 50] })).toBeUndefined();
  });

  it('does not go beyond the most leases of one worker', () => {
    const options = { ...optionsOf(a), maxLeases: 2 };
    expect(leaseToEvenOut(viewOf({ [a]: [10, 10], [b]: [100, 100] }), 0, options)).toBeUndefined();
  });

  it('comes to rest, whatever goes through the shards, and never leaves it less even than it was', () => {
    const random = seededRandom(7);
    for (let n = 0; n < 300; n++) {
      const workers = ['a', 'b', 'c', 'd'].slice(0, 2 + random.below(3)).map(name);
      const perWorker = 1 + random.below(4);
      const extra = random.below(workers.length);
      const owned = new Map(
        workers.map((worker, index) => [
          worker,
          Array.from({ length: perWorker + Number(index < extra) }, () => random.below(3) ** 4 * 10 + random.below(50)),
        ]),
      );
      const before = spread(owned);
      const moves = settle(owned, random);
      expect({ n, isAtRest: moves < 40 }).toEqual({ n, isAtRest: true });
      expect(spread(owned)).toBeLessThanOrEqual(before);
      const counts = [...owned.values()].map((loads) => loads.length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });
});

function spread(owned: ReadonlyMap<string, readonly number[]>): number {
  const loads = [...owned.values()].map((of) => of.reduce((sum, load) => sum + load, 0));
  return Math.max(...loads) - Math.min(...loads);
}

/** Lets each worker take in turn, by number first, until nobody does. @returns how many leases were moved. */
function settle(owned: Map<string, number[]>, random: ReturnType<typeof seededRandom>): number {
  for (let moves = 0; moves < 40; moves++) {
    const view = viewOf(Object.fromEntries(owned));
    const options = (worker: string) => ({ ...optionsOf(worker), random });
    const workers = [...owned.keys()];
    const byNumber = workers.flatMap((worker) =>
      leasesToTake(view, 0, options(worker)).map((lease) => ({ worker, lease })),
    );
    const moved =
      byNumber[0] ??
      workers
        .map((worker) => ({ worker, lease: leaseToEvenOut(view, 0, options(worker)) }))
        .find(({ lease }) => lease !== undefined);
    if (moved === undefined) return moves;
    const { owner, key, throughputKBps } = moved.lease!;
    owned.get(owner!)!.splice(Number(key.split('-').at(-1)), 1);
    owned.get(moved.worker)!.push(throughputKBps!);
  }
  return 40;
}
