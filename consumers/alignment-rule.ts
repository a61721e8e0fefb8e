import type { FrontierState } from '../features/frontier.ts';
import type { Asked } from '../features/needs.ts';

/** How far a partition may be ahead of the slowest other one. Milliseconds of event time. */
export interface Limits {
  /** A batch that begins further ahead waits. Infinity: nothing without a delay is shared. */
  readonly withinMs: number;
  /** Rows further ahead wait: delayed features would read what others have yet to apply. Infinity: nothing with a delay is shared. */
  readonly aheadMs: number;
}

/** What is known here of another partition. */
export interface Other {
  /** Its events before this time are visible. */
  readonly time: number;
  readonly state: FrontierState;
  /** When it said so, wall clock. */
  readonly saidAt: number;
  /** It is this process's own. */
  readonly isHere: boolean;
  /** For how long it has not got on, milliseconds. */
  readonly unmovedMs: number;
}

export interface Weighed {
  /** The earliest event time that one of those stands at who are waited for; Infinity: there are none. */
  readonly slowest: number;
  /** All events before this time are visible, also those of partitions that nobody waits for any more. */
  readonly seenBefore: number;
}

/**
 * Delayed windows leave room: a partition may be ahead by the shortest delay, less the lateness that others' events may have, and by no
 * more than its own state still holds for those behind. A delay that is no longer than the lateness leaves as much as undelayed windows
 * tolerate, since whoever stands earliest must be able to go on.
 */
export function limitsOf({ undelayed, delayMs, leadMs }: Asked, withinMs: number, allowedLatenessMs: number): Limits {
  const aheadMs = Math.max(Math.min(delayMs - allowedLatenessMs, leadMs), Math.min(delayMs, withinMs));
  return { withinMs: undelayed ? withinMs : Number.POSITIVE_INFINITY, aheadMs };
}

/**
 * Weighs the other partitions. One at its log's end has all there was when it said so: records that the broker got later than the grace
 * after that may have company there. One that does not get on for too long is not waited for, but what it lacks is not visible either.
 * @param recordedAt when the broker got the newest of the records that are to go on; milliseconds since the epoch.
 */
export function weigh(
  others: readonly Other[],
  { recordedAt, idleGraceMs, patienceMs }: { recordedAt: number; idleGraceMs: number; patienceMs: number },
): Weighed {
  let slowest = Number.POSITIVE_INFINITY;
  let seenBefore = Number.POSITIVE_INFINITY;
  for (const { time, state, saidAt, isHere, unmovedMs } of others) {
    if (state === 'at-end' && (isHere || recordedAt <= saidAt + idleGraceMs)) continue;
    seenBefore = Math.min(seenBefore, time);
    if (unmovedMs < patienceMs) slowest = Math.min(slowest, time);
  }
  return { slowest, seenBefore };
}

/**
 * How many rows of a batch may go on. Those of a log that is in order are its first; where one that is in time comes after others that are
 * not, these go with it. Of all partitions whose frontiers are known, the one that stands earliest always may: its first row is before all.
 * @param begins where the batch before began, or this one if it is earlier: a batch ahead is no reason to wait, or no two partitions
 *   would ever work at the same time.
 */
export function rowsInTurn(
  times: Float64Array,
  count: number,
  begins: number,
  slowest: number,
  { withinMs, aheadMs }: Limits,
): number {
  if (begins > slowest + withinMs) return 0;
  const limit = slowest + aheadMs;
  let rows = count;
  while (rows > 0 && times[rows - 1] >= limit) rows--;
  return rows;
}
