import type { EntityPlan } from './plan.ts';

/** What features of entities that partitions share ask of the other partitions. */
export interface Asked {
  /** Some features read up to the event's own time. */
  readonly undelayed: boolean;
  /** The shortest delay of those that do not; Infinity: there are none. Milliseconds. */
  readonly delayMs: number;
  /** How far partitions may be apart for those. Milliseconds; Infinity: there are none. */
  readonly leadMs: number;
}

export function askedBy({ spans, bounds, leadMs }: EntityPlan): Asked {
  const delays = spans.map(({ to }) => bounds[to]);
  const delayMs = Math.min(...delays.filter((delay) => delay > 0));
  return { undelayed: delays.includes(0), delayMs, leadMs: leadMs === 0 ? Number.POSITIVE_INFINITY : leadMs };
}

/** Which copies of other partitions' sub-states will do; all others are loaded again. */
export interface Need {
  /** They miss nothing that was stored of this event time, or an earlier one. Milliseconds since the epoch. */
  readonly through: number;
  /** They are no older than that. Milliseconds. */
  readonly ageMs: number;
  /** The same where the store did not have all that it should when they were loaded. */
  readonly doubtfulAgeMs: number;
}

export interface NeedOptions {
  readonly refreshMs: number;
  /** What others are behind by no more than this is no reason to call a value stale; Infinity: nobody says how far they are. */
  readonly toleranceMs: number;
  /** Events are no later than this against those before them in their log. */
  readonly latenessMs: number;
}

/** Settled copies are read again after so long, for what no frontier says: events later than they may be, and files that were added. */
const settledMs = 10_000;

/** @returns what a batch needs of an entity type, by its newest event time. */
export function createNeed(
  { labels }: EntityPlan,
  { undelayed, delayMs }: Asked,
  { refreshMs, toleranceMs, latenessMs }: NeedOptions,
): (newest: number) => Need {
  const backMs = Math.min(undelayed ? toleranceMs : delayMs, delayMs);
  // What features read is over, and no label changes it: a copy will do until the frontiers say what it misses.
  const isSettled =
    !undelayed &&
    labels.length === 0 &&
    delayMs !== Number.POSITIVE_INFINITY &&
    toleranceMs !== Number.POSITIVE_INFINITY;
  if (!isSettled) return (newest) => ({ through: newest - backMs, ageMs: refreshMs, doubtfulAgeMs: refreshMs });
  const ageMs = Math.max(refreshMs, settledMs);
  return (newest) => ({ through: newest - backMs + latenessMs, ageMs, doubtfulAgeMs: refreshMs });
}
