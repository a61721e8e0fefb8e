import type { Lease } from './kinesis/lease.ts';
import { anchorsOf } from './kinesis/positions.ts';
import type { ShardState } from './kinesis/shard-standing.ts';
import type { WantedPlace } from './kinesis/wanted-place.ts';

/** One shard's new position, before anything is known of its state. */
export interface ShardPlace {
  readonly shard: string;
  readonly partition: number;
  /** "stream:partition" */
  readonly name: string;
  readonly state: ShardState;
  readonly lease: Lease;
  /** Undefined where nobody has begun the shard. */
  readonly committed: number | undefined;
  readonly place: WantedPlace;
  /** Whether the log has all that ever was in the shard. */
  readonly isWhole: boolean;
}

/** What a move does to state and output. Numbers of records are undefined where numbers were left out on the way. */
export interface ShardMove extends ShardPlace {
  readonly fence: number | undefined;
  /** Stored sub-states that hold events at or behind the new position; dropped. */
  readonly beyond: number;
  /** State cannot go back: the shard's fence is dropped, what reaches beyond the position as well, and made anew from the log. */
  readonly isRewound: boolean;
  /** Records that the next start applies to the state again, publishing nothing. */
  readonly reapplied: number | undefined;
  /** Records whose transactions are scored and published again, with the ids that they had. */
  readonly repeated: number | undefined;
  /** Records whose transactions get into the state, but never into the output. */
  readonly skipped: number | undefined;
  /** The log no longer has what was before, and the state is to be made from there: windows that reach further back are incomplete. */
  readonly isShort: boolean;
}

/** Adds what is stored, and what follows from it. */
export function plannedShard(move: ShardPlace, fence: number | undefined, beyond: number): ShardMove {
  const { place, committed, isWhole } = move;
  const { position: to, earliest } = place;
  const isRewound = beyond > 0 || (fence ?? 0) > to;
  const stored = isRewound ? 0 : (fence ?? 0);
  const from = committed ?? earliest;
  const records = (first: number, end: number) => recordsBetween(place, first, end);
  return {
    ...move,
    fence,
    beyond,
    isRewound,
    reapplied: records(Math.max(stored, earliest), to),
    repeated: committed === undefined ? 0 : records(to, from),
    skipped: records(Math.max(from, earliest), to),
    isShort: stored < earliest && !isWhole,
  };
}

function recordsBetween({ kept }: WantedPlace, first: number, end: number): number | undefined {
  if (end <= first) return 0;
  const isLeftOut = anchorsOf(kept).some(({ number, isJump }) => isJump && number > first && number < end);
  return isLeftOut ? undefined : end - first;
}
