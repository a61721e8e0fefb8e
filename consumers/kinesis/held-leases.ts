import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { type HeldLease, holdLease } from './held-lease.ts';
import type { Lease } from './lease.ts';
import type { LeaseEvent, LeaseEventKind } from './lease-event.ts';
import type { LeaseView } from './lease-view.ts';
import type { LeaseWrites } from './lease-writes.ts';

export interface HeldLeasesParts {
  readonly writes: LeaseWrites;
  /** This process's name in the table. */
  readonly worker: string;
  readonly failoverMs: number;
  /** Least time between two checkpoints of a lease. */
  readonly checkpointMs: number;
  readonly clock: Clock;
  readonly onEvent: (event: LeaseEvent) => void;
}

/** The leases that this worker has, from when they are taken until they are let go of. */
export interface HeldLeases {
  readonly size: number;
  all(): HeldLease[];
  has(key: string): boolean;
  get(key: string): HeldLease | undefined;
  /**
   * Undefined where somebody else was faster.
   * @param since when the lease, as it is, was first seen.
   * @param wasAsked the lease was asked for, and handed over.
   */
  take(lease: Lease, since: number | undefined, wasAsked: boolean): Promise<HeldLease | undefined>;
  letGo(one: HeldLease, kind: LeaseEventKind): void;
  /** Deletes it from the table. */
  drop(one: HeldLease, kind: 'deleted' | 'gone'): Promise<void>;
  /** Lets go of those that others have by now. */
  noticeLosses(view: LeaseView): void;
  /** Renews those that are due, and lets go of those that could not be renewed in time. */
  renewDue(onFault: (error: unknown) => void): void;
  /** Gives up all, so that others need not wait. */
  giveUp(onFault: (error: unknown) => void): Promise<void>;
  /** What to do about a change that failed: one that was refused means that the lease is lost. */
  fencedIsLost(one: HeldLease): (error: unknown) => void;
}

/** Renewals in parts of the failover time: two attempts before a lease expires, as with the library's third. */
export const renewalShare = 0.4;
/** What goes through a shard is measured over so many parts of the failover time. */
export const throughputShare = 6;

export function createHeldLeases(parts: HeldLeasesParts): HeldLeases {
  const { writes, worker, failoverMs, checkpointMs, clock, onEvent } = parts;
  const held = new Map<string, HeldLease>();
  const throughputWindowMs = throughputShare * failoverMs;

  function letGo(one: HeldLease, kind: LeaseEventKind): void {
    one.lose();
    if (held.get(one.lease.key) !== one) return;
    held.delete(one.lease.key);
    onEvent({ kind, lease: one.lease });
  }

  function fencedIsLost(one: HeldLease): (error: unknown) => void {
    return (error) => {
      if (!(error instanceof WeirError) || error.code !== 'FENCED') throw error;
      letGo(one, 'lost');
    };
  }

  return {
    get size() {
      return held.size;
    },
    all: () => [...held.values()],
    has: (key) => held.has(key),
    get: (key) => held.get(key),
    async take(lease, since, wasAsked) {
      const sentAt = clock.monotonic();
      const taken = await writes.make({ kind: 'take', lease, owner: worker });
      if (taken === undefined) return undefined;
      const one = holdLease(taken, sentAt, { writes, clock, checkpointMs, throughputWindowMs });
      held.set(lease.key, one);
      const hadOwner = lease.owner !== undefined && lease.owner !== worker;
      const isLiving = sentAt - (since ?? sentAt) < failoverMs;
      const kind = !hadOwner ? (wasAsked ? 'received' : 'taken') : isLiving ? 'stolen' : 'expired';
      onEvent({ kind, lease: taken });
      return one;
    },
    letGo,
    async drop(one, kind) {
      await one.make({ kind: 'delete' }).then(() => letGo(one, kind), fencedIsLost(one));
    },
    /** What the table says of a lease counts once it is newer than what is known of it. */
    noticeLosses(view) {
      for (const one of held.values()) {
        const seen = view.get(one.lease.key)?.lease;
        if (seen !== undefined && seen.owner !== worker && seen.counter > one.lease.counter) letGo(one, 'lost');
      }
    },
    renewDue(onFault) {
      const now = clock.monotonic();
      for (const one of held.values()) {
        if (one.revoked.aborted || now - one.renewedAt >= failoverMs) letGo(one, 'lost');
        else if (!one.isBusy && now - one.renewedAt >= renewalShare * failoverMs) {
          one.make({ kind: 'renew' }).catch(fencedIsLost(one)).catch(onFault);
        }
      }
    },
    async giveUp(onFault) {
      await Promise.all(
        [...held.values()].map(async (one) => {
          await one.make({ kind: 'evict' }).then(() => letGo(one, 'evicted'), onFault);
          letGo(one, 'lost');
        }),
      );
    },
    fencedIsLost,
  };
}
