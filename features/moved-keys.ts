import type { EntityPlan } from './plan.ts';
import type { SubState } from './sub-state.ts';

/**
 * Which events of the entity that keys the source may lie in another partition than the key's events do now: those from before the source
 * got its last partitions.
 */
export interface MovedKeys {
  /** Keys have moved at that time, or may have. */
  moved(at: number): void;
  /** What happened from then on lies where the key's events do now. -Infinity: all does. */
  readonly before: number;
  /** Whether features of an event of that time read what may lie elsewhere. */
  concern(time: number): boolean;
  /** Whether the sub-state, of another partition, has what features of an event of that time read: then the key has moved. */
  showIn(foreign: SubState, time: number): boolean;
}

/** Producers hear of new partitions when they ask for them next, every five or ten minutes; until then they put keys where they were. */
const settleMs = 15 * 60_000;

/** @param plan of the entity that keys the source; undefined where no features go by it. */
export function trackMovedKeys(plan: EntityPlan | undefined): MovedKeys {
  const reachMs = Math.max(0, ...(plan?.bounds ?? []));
  let before = Number.NEGATIVE_INFINITY;
  return {
    moved(at) {
      before = Math.max(before, at + settleMs);
    },
    get before() {
      return before;
    },
    concern: (time) => time - reachMs < before,
    showIn({ rows, last }, time) {
      return rows[last * plan!.stride] > time - reachMs;
    },
  };
}
