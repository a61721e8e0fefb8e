/**
 * How long what is stored lives, by the wall clock. A sub-state is of use for its retention, and retention is event time: a job that
 * stands still for a week needs, when it goes on, what was stored a week before the retention says. So sub-states get a reserve,
 * and fences a lifetime well below that reserve: after a longer stop the fence is gone, and the partition is rebuilt from the
 * log instead of going on with state of which some may be gone.
 */
const dayMs = 86_400_000;
const reserveMs = 4 * dayMs;

/** From the last write of a sub-state. */
export function subStateLifetimeMs(retentionMs: number): number {
  return retentionMs + reserveMs;
}

/** From the last flush of a partition. */
export const fenceLifetimeMs = 3 * dayMs;
