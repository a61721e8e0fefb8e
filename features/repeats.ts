import { type EntityPlan, idField } from './plan.ts';
import type { SubState } from './sub-state.ts';

/**
 * Repetitions: for each source key the ids of its latest transactions are remembered as a state of their own, kept, stored and recovered
 * like any entity's. A row is [mark, mask, offset, hash of the id]: with the offset, an event that is read again after a crash is told
 * from its own repetition.
 */
export interface RepeatPlan extends EntityPlan {
  readonly windowMs: number;
  readonly idsPerKey: number;
}

const offsetAt = 2;
const idAt = 3;

export function createRepeatPlan(
  { windowMs, idsPerKey }: { readonly windowMs: number; readonly idsPerKey: number },
  allowedLatenessMs: number,
): RepeatPlan {
  return {
    windowMs,
    idsPerKey,
    entity: -1,
    // No name that a config can give.
    type: '@ids',
    horizonMs: windowMs,
    leadMs: 0,
    // Twice the window: after a crash events are judged again, and the state may be ahead of them by then.
    retentionMs: 2 * windowMs + allowedLatenessMs,
    idleMs: Number.POSITIVE_INFINITY,
    exactEvents: Number.POSITIVE_INFINITY,
    stride: 4,
    predicates: [],
    numbers: [{ field: -1, longitude: -1 }],
    hashes: [idField],
    cumulatives: [],
    summaries: [],
    foldedLayout: 0,
    labels: [],
    bounds: [],
    spans: [],
    readings: [],
    walks: [],
    slots: 0,
    features: [],
  };
}

/**
 * Rows stand in the order of the log, at the newest event time that the source key had come to: an event that comes late is remembered
 * as long as any other.
 * @returns that time for an event of the offset, from what was before it; undefined when it repeats an earlier one.
 */
export function markOf(
  { rows, head, last }: SubState,
  plan: RepeatPlan,
  time: number,
  offset: number,
  id: number,
): number | undefined {
  const { stride, windowMs } = plan;
  let mark = Number.NaN;
  for (let start = last * stride, base = head * stride; start > base; start -= stride) {
    // After a crash the state may be ahead of the event.
    if (rows[start + offsetAt] >= offset) continue;
    if (Number.isNaN(mark)) mark = Math.max(time, rows[start]);
    // Late itself, but of the same time as the first: as long as that is still there.
    const isWithin = mark - rows[start] < windowMs || Math.abs(time - rows[start]) < windowMs;
    if (rows[start + idAt] === id && isWithin) return undefined;
  }
  return Number.isNaN(mark) ? Math.max(time, rows[head * stride]) : mark;
}

/** Beyond the cap the oldest ids are forgotten. */
export function forgetOldest(state: SubState, { stride, idsPerKey }: RepeatPlan): void {
  if (state.last - state.head <= idsPerKey) return;
  state.head = state.last - idsPerKey;
  if (state.head > 16 && state.head * 2 > state.last) {
    state.rows = state.rows.slice(state.head * stride, (state.last + 1) * stride);
    state.last -= state.head;
    state.head = 0;
  }
}
