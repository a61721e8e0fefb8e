import type { Clock } from '../../runtime/clock.ts';
import type { Lease } from './lease.ts';
import { isFree, type LeaseView } from './lease-view.ts';
import type { LeaseWords } from './lease-words.ts';
import { isWeirWorker } from './worker-name.ts';

export interface HandOverParts {
  /** Absent where nobody can be asked. */
  readonly words?: LeaseWords;
  readonly worker: string;
  readonly failoverMs: number;
  readonly clock: Clock;
}

/**
 * A lease that this worker would take from a living worker of weir is asked for: the owner finishes and checkpoints what is under way, and makes
 * this worker the owner itself, so nobody else gets in between. One at a time. Who does not do so in time is stolen from.
 */
export interface HandOver {
  /** Keys of leases that were asked for, and are not held yet: one that is to be handed over, and one that was. */
  readonly keys: readonly string[];
  /** When its owner is waited for no longer; Infinity where that was so at the last look. */
  dueAt(lookedAt: number): number;
  /** A look at the table: forgets what was asked of one who does not own the lease any more. */
  look(view: LeaseView, now: number): void;
  /** The leases as they are to be once the one that was asked for is handed over: what else to take goes by that. */
  expected(view: LeaseView): LeaseView;
  /** The lease that was asked for, once its owner is waited for no longer. */
  overdue(view: LeaseView, now: number): Lease[];
  /** Those of the leases to be taken that nobody is to be asked for. Asks for the other, unless a hand-over is under way. */
  unasked(wanted: readonly Lease[], view: LeaseView, now: number): Lease[];
  /** The lease is held now. Gives whether it was asked for and handed over. */
  received(key: string): boolean;
  /** Asks for nothing any more. */
  withdraw(): void;
}

/**
 * An owner reads the word within half a second, then finishes a batch, waits for its checkpoint and stores state. It gets as long for that as it may
 * be silent; the shard is read meanwhile. A short failover time would be too little.
 */
export function patienceMs(failoverMs: number): number {
  return Math.max(failoverMs, 5_000);
}

export function createHandOver({ words, worker, failoverMs, clock }: HandOverParts): HandOver {
  let handed: string | undefined;
  let asked: { readonly key: string; readonly owner: string; readonly at: number } | undefined;

  function withdraw(): void {
    if (asked !== undefined) words?.withdraw(asked.owner, asked.key);
  }

  const isOverdue = (now: number) => asked !== undefined && now >= asked.at + patienceMs(failoverMs);

  return {
    get keys() {
      return [asked?.key, handed].filter((key) => key !== undefined);
    },
    dueAt(lookedAt) {
      if (asked === undefined || isOverdue(lookedAt)) return Number.POSITIVE_INFINITY;
      return asked.at + patienceMs(failoverMs);
    },
    look(view, now) {
      if (asked === undefined) return;
      const seen = view.get(asked.key);
      if (seen !== undefined && seen.lease.owner === asked.owner && !isFree(seen, now, failoverMs)) return;
      if (seen?.lease.owner === worker) handed = asked.key;
      else withdraw();
      asked = undefined;
    },
    expected(view) {
      const seen = asked && view.get(asked.key);
      if (seen === undefined) return view;
      return new Map(view).set(seen.lease.key, { ...seen, lease: { ...seen.lease, owner: worker } });
    },
    overdue(view, now) {
      const seen = asked && view.get(asked.key);
      if (seen === undefined || !isOverdue(now)) return [];
      withdraw();
      return [seen.lease];
    },
    unasked(wanted, view, now) {
      const isAskedFor = ({ key, owner }: Lease) =>
        owner !== undefined && owner !== worker && isWeirWorker(owner) && !isFree(view.get(key)!, now, failoverMs);
      if (words === undefined) return [...wanted];
      const lease = wanted.find(isAskedFor);
      if (lease !== undefined && asked === undefined) {
        // The look may have begun seconds ago: its owner has heard nothing yet.
        asked = { key: lease.key, owner: lease.owner!, at: clock.monotonic() };
        words.ask(lease.owner!, lease.key);
      }
      return wanted.filter((one) => !isAskedFor(one));
    },
    received(key) {
      if (asked?.key === key) asked = undefined;
      if (handed !== key) return false;
      handed = undefined;
      return true;
    },
    withdraw,
  };
}
