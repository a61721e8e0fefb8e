import { WeirError } from '../runtime/errors.ts';
import type { KafkaSourceConfig } from './kafka/config.ts';
import { missingPartition } from './kafka/faults.ts';
import type { PartitionOffsets } from './kafka/group-view.ts';
import { lostBehind, startOf } from './offsets.ts';
import { partitionName } from './ports.ts';

/** Where positions are to go. Times are milliseconds since the epoch and mean the broker's timestamps. */
export type ResetTarget =
  | { readonly to: 'earliest' | 'latest' }
  | { readonly offset: number }
  | { readonly time: number };

/** One partition's new position, before anything is known of its state. */
export interface Move extends PartitionOffsets {
  readonly name: string;
  readonly to: number;
  /** What the target says, also where the log does not have it. */
  readonly asked: number;
}

/** What a move does to state and output. */
export interface PlannedMove extends Move {
  readonly fence: number | undefined;
  /** Stored sub-states that hold events at or behind the new position; dropped. */
  readonly beyond: number;
  /** State cannot go back: the partition's fence is dropped, what reaches beyond the position as well, and made anew from the log. */
  readonly isRewound: boolean;
  /** Offsets that the next start applies to the state again, publishing nothing. */
  readonly reapplied: number;
  /** Offsets whose transactions are scored and published again, with the ids that they had. */
  readonly repeated: number;
  /** Offsets whose transactions get into the state, but never into the output. */
  readonly skipped: number;
  /** Offsets behind the former position that the log has deleted: neither. */
  readonly lost: number;
  /** The log no longer has what is before this offset, and the state is to be made from there: windows that reach further back are incomplete. */
  readonly knownFrom: number | undefined;
}

/**
 * The new position of each partition, within what its log has.
 * @param only partitions to move; undefined for all.
 * @param atTime by partition, for a target that is a time.
 * @throws WeirError CONFIG for a partition that the topic does not have.
 */
export function planMoves(
  topic: string,
  offsets: readonly PartitionOffsets[],
  target: ResetTarget,
  only: readonly number[] | undefined,
  atTime: ReadonlyMap<number, number>,
): Move[] {
  const missing = only?.find((partition) => !offsets.some((of) => of.partition === partition));
  if (missing !== undefined) throw missingPartition(topic, missing, offsets.length);
  return offsets
    .filter(({ partition }) => only?.includes(partition) ?? true)
    .map((of) => {
      const asked = positionOf(target, of, atTime);
      const to = Math.min(Math.max(asked, of.begin), of.end);
      return { ...of, name: partitionName({ stream: topic, partition: of.partition }), to, asked };
    });
}

function positionOf(target: ResetTarget, of: PartitionOffsets, atTime: ReadonlyMap<number, number>): number {
  if ('offset' in target) return target.offset;
  if ('time' in target) return atTime.get(of.partition) ?? of.end;
  return target.to === 'earliest' ? of.begin : of.end;
}

/** Adds what is stored, and what follows from it. */
export function planned(
  move: Move,
  fence: number | undefined,
  beyond: number,
  start: KafkaSourceConfig['start'],
): PlannedMove {
  const { to, begin } = move;
  const from = startOf(move, start);
  const isRewound = beyond > 0 || (fence ?? 0) > to;
  const stored = isRewound ? 0 : (fence ?? 0);
  return {
    ...move,
    fence,
    beyond,
    isRewound,
    reapplied: Math.max(0, to - Math.max(stored, begin)),
    repeated: move.committed === undefined ? 0 : Math.max(0, from - to),
    skipped: Math.max(0, to - Math.max(from, begin)),
    lost: lostBehind(from, begin),
    knownFrom: stored < begin ? begin : undefined,
  };
}

/**
 * State is known by job and recipe, not by the group: a mistyped group must not take the state of the one that is meant. Who has made state
 * has a position, since it is stored only behind what is committed.
 * @throws WeirError CONFIG where a partition has state and the group no position.
 */
export function demandPositions(
  job: string,
  { group, topic, brokers }: Pick<KafkaSourceConfig, 'group' | 'topic' | 'brokers'>,
  moves: readonly PlannedMove[],
): void {
  const taken = moves.find((of) => of.committed === undefined && (of.beyond > 0 || (of.fence ?? 0) > of.begin));
  if (taken === undefined) return;
  const tool = `kafka-consumer-groups.sh --bootstrap-server ${brokers[0]} --group ${group} --topic ${topic} --reset-offsets --to-earliest --execute`;
  throw new WeirError(
    'CONFIG',
    `group ${group} has no position in ${taken.name}, but job ${job} has state of it, which is then another group's: check source.kafka.group. ` +
      `Where the state is to be this group's (its positions were deleted or have expired, or the group has a new name), stop all processes of the job, give it positions: ${tool}, and run the command again`,
  );
}
