import type { Clock } from '../../runtime/clock.ts';

/** Without a rival for so long, the next one is another matter. */
const calmMs = 60_000;

/**
 * Tells those who go on subscribing to a shard with the same consumer from a lease that changes hands: then two do so as well, until the
 * former owner has heard of it.
 */
export interface Rivals {
  /** Somebody has taken the subscription, or has it. @returns true when that goes on for longer than a lease takes to change hands. */
  met(): boolean;
}

export function watchRivals(handOverMs: number, clock: Clock): Rivals {
  let since = Number.NEGATIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  return {
    met() {
      const now = clock.monotonic();
      if (now - last > calmMs) since = now;
      last = now;
      return now - since > handOverMs;
    },
  };
}
