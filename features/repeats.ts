import { type EntityPlan, idField } from './plan.ts';
import { emptySubState, insertEvent, type SubState } from './sub-state.ts';

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
    // Twice the window: after a crash events are judged again, and the state may be ahead of them by then. ReplayedIds judges what is further back.
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

/**
 * Whether an event repeats one of a partition that its own came from: what its producer put again behind a split or merge. Of other partitions'
 * ids nothing is sure: which of two came first would depend on who reads faster.
 * @param state the source key's ids in the ancestor, which was read to its end before the event's own partition began.
 * @param ownMark of the event in its own.
 */
export function repeatsAncestor(
  { rows, head, last }: SubState,
  { stride, windowMs }: RepeatPlan,
  ownMark: number,
  time: number,
  id: number,
): boolean {
  const mark = last > head ? Math.max(ownMark, rows[last * stride]) : ownMark;
  for (let start = last * stride, base = head * stride; start > base; start -= stride) {
    const isWithin = mark - rows[start] < windowMs || Math.abs(time - rows[start]) < windowMs;
    if (rows[start + idAt] === id && isWithin) return true;
  }
  return false;
}

/** Judges events that are applied again although the ids that were stored reach beyond them, and may have forgotten those from before. */
export interface ReplayedIds {
  /**
   * To be asked in the order of the log, from where it is applied again.
   * @param state the source key's ids, which reach beyond the event.
   * @param isInherited whether an event of the mark repeats one of another partition; asked only where the ids themselves do not tell.
   * @returns whether the event repeats an earlier one.
   */
  isRepeat(
    key: string,
    state: SubState,
    time: number,
    offset: number,
    id: number,
    isInherited: (mark: number) => boolean,
  ): boolean;
  /** The partition is through, or begins anew. */
  forget(partition: string): void;
}

/** @param keys of a partition whose forgotten ids are gathered anew at the same time; beyond, those of the key that came longest ago go. */
export function createReplayedIds(plan: RepeatPlan, keys: number): ReplayedIds {
  /** By partition and key, in the order of use: what the ids that are there do not reach back to. */
  const byPartition = new Map<string, Map<string, SubState>>();

  function gatheredOf(partition: string): Map<string, SubState> {
    const gathered = byPartition.get(partition) ?? new Map<string, SubState>();
    byPartition.set(partition, gathered);
    return gathered;
  }

  return {
    forget: (partition) => void byPartition.delete(partition),
    isRepeat(key, state, time, offset, id, isInherited) {
      const gathered = gatheredOf(state.partition);
      const found = gathered.get(key);
      gathered.delete(key);
      // Each event that repeats none has its row, until that is forgotten, the oldest first.
      const row = rowThrough(state, plan, offset);
      if (row > state.head) return state.rows[row * plan.stride + offsetAt] !== offset;
      const ids = found ?? emptySubState(plan, state.partition);
      const mark = markOf(ids, plan, time, offset, id);
      const isFirst = mark !== undefined && !isInherited(mark);
      if (isFirst) {
        insertEvent(ids, plan, mark, Float64Array.of(0, offset, id));
        forgetOldest(ids, plan);
      }
      gathered.set(key, ids);
      if (gathered.size > keys) gathered.delete(gathered.keys().next().value!);
      return !isFirst;
    },
  };
}

/** The last row whose event stands at or before the offset; the head where there is none. */
function rowThrough({ rows, head, last }: SubState, { stride }: RepeatPlan, offset: number): number {
  let [low, high] = [head, last];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (rows[middle * stride + offsetAt] <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
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
