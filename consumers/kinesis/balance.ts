import type { Random } from '../../runtime/random.ts';
import type { Lease } from './lease.ts';
import { isFree, isOverdue, type LeaseView, leasesByWorker, type SeenLease } from './lease-view.ts';
import { isWeirWorker } from './worker-name.ts';

export interface BalanceOptions {
  readonly worker: string;
  readonly failoverMs: number;
  /** Most leases of one worker. */
  readonly maxLeases: number;
  readonly random: Random;
}

/**
 * The leases that this worker should take now: up to its share of all leases, the free ones first; where none is free, at most one from
 * the worker that has most, as the Kinesis Client Library 2.x goes about it. Where throughput is known, the one is chosen that evens it
 * out best. A lease that has been free for some time is taken whatever the share: who counts for it may be gone as well.
 */
export function leasesToTake(view: LeaseView, now: number, options: BalanceOptions): Lease[] {
  const { worker, failoverMs, maxLeases, random } = options;
  const byWorker = leasesByWorker(view, worker, now, failoverMs);
  const mine = byWorker.get(worker)!.length;
  const share = Math.ceil(view.size / byWorker.size);
  const room = Math.max(0, maxLeases - mine);
  const needed = Math.min(share - mine, room);
  const free = [...view.values()].filter((seen) => isFree(seen, now, failoverMs));
  if (free.length === 0) return needed > 0 ? leaseToSteal(byWorker, worker, needed, share, random) : [];
  const overdue = free.filter((seen) => isOverdue(seen, now, failoverMs));
  const others = free.filter((seen) => !overdue.includes(seen));
  const byChance = (seen: SeenLease[]) => shuffled(seen, random).map(({ lease }) => lease);
  const taken = byChance(overdue).slice(0, room);
  return [...taken, ...byChance(others).slice(0, Math.max(0, needed - taken.length))];
}

/** From a worker above its share when this one is below; from one at its share when this one lacks two or more. */
function leaseToSteal(
  byWorker: ReadonlyMap<string, readonly Lease[]>,
  worker: string,
  needed: number,
  share: number,
  random: Random,
): Lease[] {
  const others = [...byWorker].filter(([name]) => name !== worker).map(([, leases]) => leases);
  const most = Math.max(0, ...others.map((leases) => leases.length));
  if (most < share || (most === share && needed < 2)) return [];
  const loads = new Map(others.map((leases) => [leases, loadOf(leases)]));
  const heaviest = others
    .filter((leases) => leases.length === most)
    .reduce((a, b) => (loads.get(b)! > loads.get(a)! ? b : a));
  const surplus = (loads.get(heaviest)! - loadOf(byWorker.get(worker)!)) / 2;
  // Equally good ones are chosen from by chance, so that two stealers do not go for the same.
  return [nearest(shuffled(heaviest, random), surplus)];
}

/** Less than this part of an even share is not worth the hand-over. */
const leastGain = 0.2;

/**
 * A lease that this worker should take although the shares are even by number, because far more goes through the shards of the worker that has
 * most to read. Only the worker that has least to read takes one, and only where its own number stays within its share, or where every number is
 * the same: the other then lacks one, and takes back what evens it out best, as it always does. Undefined where something is not known yet, where
 * it gains too little, and in a fleet with workers of the Kinesis Client Library, which take by number whatever comes.
 */
export function leaseToEvenOut(view: LeaseView, now: number, options: BalanceOptions): Lease | undefined {
  const { worker, failoverMs, maxLeases } = options;
  const leases = [...view.values()];
  if (leases.some((seen) => isFree(seen, now, failoverMs) || seen.lease.throughputKBps === undefined)) return undefined;
  const workers = [...leasesByWorker(view, worker, now, failoverMs)].map(([name, owned]) => ({
    name,
    owned,
    load: loadOf(owned),
  }));
  const me = workers.find(({ name }) => name === worker)!;
  const most = workers.reduce((a, b) => (b.load > a.load ? b : a));
  const least = workers.reduce((a, b) => (b.load < a.load ? b : a));
  if (most === me || least !== me || !workers.every(({ name }) => isWeirWorker(name))) return undefined;
  const share = Math.ceil(view.size / workers.length);
  const isExchange = workers.every(({ owned }) => owned.length === share);
  const isWithinShare = me.owned.length === share - 1 && most.owned.length === share;
  if (!(isExchange || isWithinShare) || me.owned.length >= maxLeases) return undefined;

  const difference = most.load - me.load;
  /** How far the two are apart once this one has the lease, and the other has taken another one back where it lacks one. */
  const apart = (taken: Lease): number => {
    const after = 2 * taken.throughputKBps! - difference;
    if (!isExchange) return Math.abs(after);
    const back = nearest([...me.owned, taken], after / 2);
    return back === taken ? difference : Math.abs(after - 2 * back.throughputKBps!);
  };
  const best = most.owned.reduce((a, b) => (apart(b) < apart(a) ? b : a));
  const evenShare = loadOf(leases.map(({ lease }) => lease)) / workers.length;
  return difference - apart(best) >= leastGain * evenShare && evenShare > 0 ? best : undefined;
}

function nearest(leases: readonly Lease[], wanted: number): Lease {
  return leases.reduce((a, b) => (distance(b, wanted) < distance(a, wanted) ? b : a));
}

function loadOf(leases: readonly Lease[]): number {
  return leases.reduce((sum, { throughputKBps }) => sum + (throughputKBps ?? 0), 0);
}

function distance({ throughputKBps = 0 }: Lease, wanted: number): number {
  return Math.abs(throughputKBps - wanted);
}

/** Fisher and Yates. */
function shuffled<T>(values: readonly T[], random: Random): T[] {
  const result = [...values];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}
