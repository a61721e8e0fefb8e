import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { openStoreReader, type Surroundings } from './components.ts';
import type { KafkaSourceConfig } from './kafka/config.ts';
import { type PartitionOffsets, type SeenMember, viewGroup } from './kafka/group-view.ts';
import { partitionName } from './ports.ts';

export interface OffsetsView {
  readonly members: readonly SeenMember[];
  readonly partitions: readonly PartitionStanding[];
}

/** Where a partition's output and its state stand. */
export interface PartitionStanding extends PartitionOffsets {
  /** Offsets that are still to be read: from the position, or from where the partition would begin, to the log's end. */
  readonly lag: number;
  /** Offsets behind the position that the log has deleted: they are never scored. */
  readonly lost: number;
  /** Offset (exclusive) through which all state is stored. */
  readonly fence: number | undefined;
  /** Offsets that a start re-applies to the state, publishing nothing. */
  readonly reapplied: number;
  /** `ahead`: the state reaches beyond the position, no process can start; `short`: the log begins behind what is stored. */
  readonly trouble: 'ahead' | 'short' | undefined;
}

/**
 * What an operator may want to know before a start, also while the job runs.
 * @throws WeirError CONFIG where positions are not a consumer group's; else as the cluster and the store do.
 */
export async function viewOffsets(job: CompiledJob, surroundings: Surroundings): Promise<OffsetsView> {
  const kafka = groupOf(job);
  const view = await viewGroup(kafka, surroundings);
  try {
    const reader = await openStoreReader(job, surroundings);
    try {
      const names = (await view.offsets()).map(({ partition }) => partitionName({ stream: kafka.topic, partition }));
      // Before the positions: of a running job a fence that is read later may be beyond them.
      const fences = await reader.fences(names);
      const offsets = await view.offsets();
      const { members } = await view.group(kafka.group);
      return { members, partitions: offsets.map((of, index) => standing(of, fences[index], kafka.start)) };
    } finally {
      await reader.close();
    }
  } finally {
    await view.close();
  }
}

/** @throws WeirError CONFIG for a job whose positions are kept elsewhere. */
export function groupOf({ config }: CompiledJob): KafkaSourceConfig {
  const { source, sink } = config;
  if (source.kafka && sink.kafka) return source.kafka;
  if (source.kafka && sink.kinesis) {
    const shown = "weir fleet status shows the positions of this job's group";
    throw new WeirError('CONFIG', `weir offsets is for a Kafka source with sink.kafka, and for shards: ${shown}`);
  }
  const where = source.kinesis
    ? 'the lease table (weir offsets show shows it)'
    : source.kafka
      ? "the file sink's checkpoint, together with the length of its output"
      : 'the output: a file is read once, from its beginning, and a job that begins anew has other output files and another state';
  throw new WeirError('CONFIG', `offsets are about a consumer group: this job's position is kept in ${where}`);
}

/** Where a partition goes on that the group has, or has not, a position of. */
export function startOf({ committed, begin, end }: PartitionOffsets, start: KafkaSourceConfig['start']): number {
  return committed ?? (start === 'earliest' ? begin : end);
}

/** How much of what lies behind a position the log has deleted. */
export function lostBehind(position: number, begin: number): number {
  return Math.max(0, begin - position);
}

/** @param fence as it was before the offsets were asked for. */
export function standing(
  of: PartitionOffsets,
  fence: number | undefined,
  start: KafkaSourceConfig['start'],
): PartitionStanding {
  const position = startOf(of, start);
  const stored = fence ?? 0;
  return {
    ...of,
    fence,
    lag: Math.max(0, of.end - Math.max(position, of.begin)),
    lost: lostBehind(position, of.begin),
    reapplied: Math.max(0, position - Math.max(stored, of.begin)),
    trouble: stored > position ? 'ahead' : stored < of.begin ? 'short' : undefined,
  };
}
