/**
 * How long what is stored lives, by the wall clock. A sub-state is of use for its retention, and retention is event time: a job that
 * stands still for a week needs, when it goes on, what was stored a week before the retention says. So sub-states get a reserve,
 * and fences a lifetime well below that reserve: after a longer stop the fence is gone, and the partition is rebuilt from the
 * log instead of going on with state of which some may be gone.
 */
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const reserveMs = 4 * dayMs;

/**
 * When a sub-state that is written now may go: seconds since the epoch, rounded up to the hour, so that most writes of an entity find
 * the same expiry set already.
 */
export function subStateExpiry(nowMs: number, retentionMs: number): number {
  return Math.ceil((nowMs + retentionMs + reserveMs) / hourMs) * (hourMs / 1000);
}

/** No sub-state goes earlier than this after it was written. */
export const leastLifetimeMs = reserveMs;

/** From the last flush of a partition. */
export const fenceLifetimeMs = 3 * dayMs;
