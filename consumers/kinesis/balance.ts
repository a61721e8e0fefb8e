import type { Random } from '../../runtime/random.ts';
import type { Lease } from './lease.ts';
import { isFree, isOverdue, type LeaseView, leasesByWorker, type SeenLease } from './lease-view.ts';

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
  return [shuffled(heaviest, random).reduce((a, b) => (distance(b, surplus) < distance(a, surplus) ? b : a))];
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
