import type { Frontier } from '../features/frontier.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import type { Surroundings } from './components.ts';
import type { KafkaSourceConfig } from './kafka/config.ts';
import { type PartitionOffsets, type SeenGroup, type SeenMember, viewGroup } from './kafka/group-view.ts';
import { type KinesisSourceConfig, leaseTableName } from './kinesis/config.ts';
import {
  holdingOf,
  type LeaseHolding,
  type LeasePosition,
  positionOf,
  type ShardStanding,
} from './kinesis/shard-standing.ts';
import { shardNumber } from './kinesis/shards.ts';
import { standing } from './offsets.ts';
import { partitionName } from './ports.ts';
import { readProgress, type StoredProgress } from './stored-progress.ts';

/** Who reads what of a job's input, and how far; seen by an operator who joins nothing and writes nothing. */
export type FleetView = KafkaFleet | KinesisFleet;

export interface KafkaFleet {
  readonly kind: 'kafka';
  readonly topic: string;
  readonly groupName: string;
  readonly group: SeenGroup;
  readonly partitions: readonly FleetPartition[];
  /** Whether the group has the positions: a file sink keeps them with its output. */
  readonly hasPositions: boolean;
  readonly storeFault: WeirError | undefined;
}

export interface FleetPartition extends PartitionOffsets, Progress {
  /** Undefined where nobody has it, and while the group rebalances. */
  readonly owner: SeenMember | undefined;
  /** Offsets from the position to the log's end; undefined where the group has no positions. */
  readonly lag: number | undefined;
  /** As of `weir offsets show`; undefined also where it is not known. */
  readonly trouble: 'ahead' | 'short' | undefined;
}

export interface KinesisFleet {
  readonly kind: 'kinesis';
  readonly stream: string;
  readonly application: string;
  readonly leaseTable: string;
  readonly failoverMs: number;
  readonly shardSyncMs: number;
  /** How long the lease table was watched. */
  readonly watchedMs: number;
  readonly shards: readonly FleetShard[];
  readonly storeFault: WeirError | undefined;
}

export interface FleetShard extends ShardStanding, LeasePosition, Progress {
  /** Its number in what weir publishes, counts and logs. */
  readonly partition: number;
  /** Undefined where there is no lease. */
  readonly holding: LeaseHolding | undefined;
  /** How long the lease is known not to have been renewed; undefined where there is none. */
  readonly silentMs: number | undefined;
}

/** What the state store says of a partition. */
interface Progress {
  /** Offset (exclusive) through which all its state is stored. */
  readonly fence: number | undefined;
  /** Where it stands in event time, as last stored. */
  readonly frontier: Frontier | undefined;
}

/**
 * @param isOnce for Kinesis: does not wait to see whether the leases' owners live.
 * @throws WeirError CONFIG for a job that reads a file; INPUT when there is no such topic, group, stream or lease table; else as the cluster or
 *   AWS answers. A state store that is away is told in the view.
 */
export function viewFleet(job: CompiledJob, surroundings: Surroundings, isOnce: boolean): Promise<FleetView> {
  const { kafka, kinesis } = job.config.source;
  if (kafka) return viewKafka(job, kafka, surroundings);
  if (kinesis) return viewKinesis(job, kinesis, surroundings, isOnce);
  throw new WeirError('CONFIG', 'there is no fleet to look at: this job reads a file, and one process does that');
}

async function viewKafka(job: CompiledJob, kafka: KafkaSourceConfig, surroundings: Surroundings): Promise<KafkaFleet> {
  const { topic, group: groupName } = kafka;
  const hasPositions = job.config.sink.file === undefined;
  const view = await viewGroup(kafka, surroundings);
  const nameOf = (partition: number) => partitionName({ stream: topic, partition });
  try {
    const names = (await view.offsets()).map(({ partition }) => nameOf(partition));
    // Before the positions: of a running job a fence that is read later may be beyond them.
    const progress = await readProgress(job, surroundings, names);
    const offsets = await view.offsets();
    const group = await view.group(groupName);
    if (group.state === 'Dead' && offsets.every(({ committed }) => committed === undefined)) {
      const advice = 'no process of the job has been started yet, or source.kafka names another group';
      throw new WeirError('INPUT', `group ${groupName} does not exist at ${kafka.brokers.join(',')}: ${advice}`);
    }
    const partitions = offsets.map((of): FleetPartition => {
      const stored = progressOf(progress, nameOf(of.partition));
      const { lag, trouble } = standing(of, stored.fence, kafka.start);
      const isKnown = hasPositions && progress.fault === undefined;
      return {
        ...of,
        ...stored,
        owner: group.members.find((member) => member.partitions.includes(of.partition)),
        lag: hasPositions ? lag : undefined,
        trouble: isKnown ? trouble : undefined,
      };
    });
    return { kind: 'kafka', topic, groupName, group, partitions, hasPositions, storeFault: progress.fault };
  } finally {
    await view.close();
  }
}

export async function viewKinesis(
  job: CompiledJob,
  kinesis: KinesisSourceConfig,
  surroundings: Surroundings,
  isOnce: boolean,
): Promise<KinesisFleet> {
  const { stream, application, failover_time_ms: failoverMs, shard_sync_interval_ms: shardSyncMs } = kinesis;
  // Loaded where it is used: the SDK takes a fifth of a second.
  const { openLeaseWatch } = await import('./kinesis/lease-watch.ts');
  const nameOf = (id: string) => partitionName({ stream, partition: shardNumber(id) });
  const watch = await openLeaseWatch(kinesis, surroundings.clock);
  try {
    // Before the positions, as with Kafka.
    const progress = await readProgress(job, surroundings, watch.shards.map(nameOf));
    const { shards, firstLookAt, lastLookAt } = await watch.watch(isOnce);
    return {
      kind: 'kinesis',
      stream,
      application,
      leaseTable: leaseTableName(kinesis),
      failoverMs,
      shardSyncMs,
      watchedMs: lastLookAt - firstLookAt,
      storeFault: progress.fault,
      shards: shards.map((of): FleetShard => {
        const { seen } = of;
        return {
          ...of,
          ...progressOf(progress, nameOf(of.shard)),
          ...(seen === undefined ? unread : positionOf(seen.lease)),
          partition: shardNumber(of.shard),
          holding: seen && holdingOf(seen, firstLookAt, lastLookAt, failoverMs),
          silentMs: seen && Math.max(0, lastLookAt - seen.since),
        };
      }),
    };
  } finally {
    watch.close();
  }
}

const unread: LeasePosition = { position: undefined, isMoved: false, fenceAnchor: undefined };

function progressOf({ fences, frontiers }: StoredProgress, name: string): Progress {
  return { fence: fences.get(name), frontier: frontiers.get(name) };
}
