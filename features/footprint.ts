import type { EntityPlan } from './plan.ts';
import { valueCap } from './summary.ts';

/** Bytes that a retained event takes in the store, at most: see codec.ts. A time delta rarely takes more than 5 of its 8. */
export function eventBytes(plan: EntityPlan): number {
  return 5 + plan.predicates.length / 8 + plan.numbers.length * 8 + plan.hashes.length * 6;
}

/**
 * Bytes that a retained event commonly takes in the store: events hours apart (4 bytes), values of some thousand or ten thousand of the
 * smallest units (3 bytes), places 8 bytes.
 */
export function commonEventBytes(plan: EntityPlan): number {
  const numbers = plan.numbers.reduce((bytes, { longitude }) => bytes + (longitude < 0 ? 3 : 8), 0);
  return 4 + plan.predicates.length / 8 + numbers + plan.hashes.length * 6;
}

/** Bytes that an entity takes in the store of one partition, at most. */
export function entityBytes(plan: EntityPlan): number {
  const exact = plan.exactEvents * 1.125 * eventBytes(plan);
  const summaries = plan.summaries.reduce(
    (bytes, { keepsValues }) => bytes + 56 + (keepsValues ? valueCap * 10 : 0),
    0,
  );
  return Math.round(exact + paneCount(plan) * (32 + plan.cumulatives.length * 8) + paneCount(plan) * summaries);
}

/** Panes of each window, a power of two of them, 64 to 128. */
function paneCount(plan: EntityPlan): number {
  return new Set(plan.spans.map(({ widthMs }) => widthMs)).size * 128;
}
