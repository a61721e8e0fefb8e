import type { Signal } from '../../features/redis/signal.ts';
import type { LeaseCoordinator } from './lease-coordinator.ts';

/** Words from this worker to another one of weir. Nobody is sure to hear them. */
export interface LeaseWords {
  /** Asks the owner to hand the lease over to this worker. */
  ask(owner: string, key: string): void;
  /** Takes that back. */
  withdraw(owner: string, key: string): void;
  /** This worker has handed the lease over to the other one. */
  handed(to: string, key: string): void;
}

type Hearing = Pick<LeaseCoordinator, 'asked' | 'withdrawn' | 'lookNow'>;

/** What is said of a lease that was handed over; all else is said about a lease and by whom, so that nobody overwrites what others say. */
const handed = 'handed';
const asked = 'asked';
const withdrawn = 'withdrawn';

export function wordsThrough(signal: Pick<Signal, 'tell'>, worker: string): LeaseWords {
  return {
    ask: (owner, key) => void signal.tell(owner, `${key} ${worker}`, asked),
    withdraw: (owner, key) => void signal.tell(owner, `${key} ${worker}`, withdrawn),
    handed: (to, key) => void signal.tell(to, key, handed),
  };
}

/** Hears what others say to the worker that is called so. */
export function hearWords(signal: Pick<Signal, 'hear'>, worker: string, coordinator: Hearing): void {
  signal.hear(worker, (about, word) => {
    // A shard's id has no space.
    const [key, ...by] = about.split(' ');
    if (word === handed) coordinator.lookNow();
    if (word === asked) coordinator.asked(key, by.join(' '));
    if (word === withdrawn) coordinator.withdrawn(key, by.join(' '));
  });
}
