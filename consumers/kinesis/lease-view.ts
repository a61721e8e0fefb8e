import type { Lease } from './lease.ts';

/** A lease as a worker has seen it, and since when, on its own monotonic clock, it has not changed. Milliseconds. */
export interface SeenLease {
  readonly lease: Lease;
  readonly since: number;
}

export type LeaseView = ReadonlyMap<string, SeenLease>;

/** What is known after another look at the table. Clocks of several workers are never compared: only this one's runs between two looks. */
export function look(before: LeaseView, leases: readonly Lease[], now: number): LeaseView {
  return new Map(
    leases.map((lease) => {
      const seen = before.get(lease.key);
      return [lease.key, { lease, since: seen?.lease.counter === lease.counter ? seen.since : now }];
    }),
  );
}

/**
 * True for a lease that anybody may take: nobody has it, or its owner has not been heard of for the failover time.
 * @param now when the latest look was asked for: what it shows may be no newer.
 */
export function isFree({ lease, since }: SeenLease, now: number, failoverMs: number): boolean {
  return lease.owner === undefined || now - since >= failoverMs;
}

/** How long a free lease is left to workers that have less than their share, in parts of the failover time. */
const graceShare = 0.4;

/** True for a free lease that nobody has taken although every living worker has had the time to. */
export function isOverdue(seen: SeenLease, now: number, failoverMs: number): boolean {
  return now >= overdueAt(seen, failoverMs);
}

function overdueAt({ lease, since }: SeenLease, failoverMs: number): number {
  return since + (lease.owner === undefined ? 0 : failoverMs) + graceShare * failoverMs;
}

/** When the first of the leases that are not this worker's becomes free or overdue, should nothing happen to it; Infinity when none does. */
export function nextChange(view: LeaseView, worker: string, now: number, failoverMs: number): number {
  const others = [...view.values()].filter(({ lease }) => lease.owner !== worker);
  const times = others.flatMap((seen) => [seen.since + failoverMs, overdueAt(seen, failoverMs)]);
  return Math.min(Number.POSITIVE_INFINITY, ...times.filter((time) => time > now));
}

/** How many leases each living worker has, this one included. */
export function leasesByWorker(
  view: LeaseView,
  worker: string,
  now: number,
  failoverMs: number,
): ReadonlyMap<string, readonly Lease[]> {
  const byWorker = new Map<string, Lease[]>([[worker, []]]);
  for (const seen of view.values()) {
    if (isFree(seen, now, failoverMs)) continue;
    const owner = seen.lease.owner!;
    const owned = byWorker.get(owner);
    if (owned) owned.push(seen.lease);
    else byWorker.set(owner, [seen.lease]);
  }
  return byWorker;
}
