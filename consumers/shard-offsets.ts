import type { CompiledJob } from './compile.ts';
import type { Surroundings } from './components.ts';
import { type FleetShard, type KinesisFleet, viewKinesis } from './fleet.ts';
import { isSequenceNumber } from './kinesis/checkpoint.ts';
import type { KinesisSourceConfig } from './kinesis/config.ts';

export interface ShardOffsetsView extends Omit<KinesisFleet, 'shards'> {
  readonly shards: readonly ShardOffsets[];
}

/** Where a shard's output and its state stand. */
export interface ShardOffsets extends FleetShard {
  /** When the checkpoint's record arrived, milliseconds since the epoch; undefined where one read does not tell. */
  readonly arrivedAt: number | undefined;
  /** User records that a start re-applies to the state, publishing nothing; undefined where it is not known without reading the log. */
  readonly reapplied: number | undefined;
  /** `ahead`: the state reaches beyond the position, nobody can read the shard; `moved`: another consumer has moved the checkpoint. */
  readonly trouble: 'ahead' | 'moved' | undefined;
}

/**
 * The same of a job that reads Kinesis as viewOffsets() of one that reads Kafka. It takes no lease.
 * @throws WeirError INPUT when there is no such stream or lease table; else as AWS answers.
 */
export async function viewShardOffsets(
  job: CompiledJob,
  kinesis: KinesisSourceConfig,
  surroundings: Surroundings,
): Promise<ShardOffsetsView> {
  const fleet = await viewKinesis(job, kinesis, surroundings, true);
  // Loaded where it is used: the SDK takes a fifth of a second.
  const [{ kinesisClient }, { arrivalOf }] = await Promise.all([
    import('./kinesis/aws.ts'),
    import('./kinesis/arrival.ts'),
  ]);
  const client = kinesisClient(kinesis, requestMs);
  try {
    const shards = fleet.shards.map(async (of): Promise<ShardOffsets> => {
      const { sequence } = of.seen?.lease.checkpoint ?? {};
      const isTold = sequence !== undefined && isSequenceNumber(sequence);
      const arrivedAt = isTold ? await arrivalOf(client, kinesis.stream, of.shard, sequence) : undefined;
      return { ...of, ...standing(of), arrivedAt };
    });
    return { ...fleet, shards: await Promise.all(shards) };
  } finally {
    client.destroy();
  }
}

const requestMs = 10_000;

function standing({ position, fence, isMoved }: FleetShard): Pick<ShardOffsets, 'reapplied' | 'trouble'> {
  if (position === undefined) return { reapplied: undefined, trouble: isMoved ? 'moved' : undefined };
  if (fence === undefined) return { reapplied: undefined, trouble: undefined };
  return { reapplied: Math.max(0, position - fence), trouble: fence > position ? 'ahead' : undefined };
}
