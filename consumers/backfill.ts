import type { StateStore } from '../features/store.ts';
import { WeirError } from '../runtime/errors.ts';
import { catchUp } from './backfill-catch-up.ts';
import { type BackfilledPartition, notBegun } from './backfill-partition.ts';
import type { CompiledJob } from './compile.ts';
import { openSource, openStore, type Surroundings } from './components.ts';
import { type GroupPositions, watchGroup } from './kafka/group-positions.ts';
import { partitionName, type Source } from './ports.ts';

export interface BackfillOptions extends Surroundings {
  /** Every partition is to come within so many records of the live group's position. */
  readonly within: number;
  /** Go on, however near, until the signal aborts. */
  readonly follow: boolean;
  /** Aborting stores what is applied, and ends. */
  readonly signal: AbortSignal;
}

export interface BackfillSummary {
  /** In order of partition; those that the live group has no position of are not among them. */
  readonly partitions: readonly (BackfilledPartition & {
    /** Records between what is stored and the live group's position: left for `weir run` to re-apply. */
    readonly left: number;
  })[];
  /** False when it was stopped on its way. */
  readonly isCaughtUp: boolean;
  readonly seconds: number;
}

/**
 * Builds the state of the job's recipe from the log as far as the job's live group has come, beside the group and without its notice: reads
 * as a group of its own, publishes nothing, and stops close behind. What is left is what `weir run` re-applies at its start.
 * @throws WeirError CONFIG when the job's state cannot be built beside a running job; INPUT when the group has no position; else as the
 *   components do.
 */
export async function backfillFromLog(job: CompiledJob, options: BackfillOptions): Promise<BackfillSummary> {
  const { clock, log } = options;
  const kafka = kafkaOf(job);
  const positions = watchGroup(kafka, { clock, log });
  let store: StateStore | undefined;
  let source: Source | undefined;
  const startedAt = clock.monotonic();
  try {
    if ([...(await positions.now()).values()].every((position) => position === undefined)) {
      throw new WeirError(
        'INPUT',
        `group ${kafka.group} has no position in topic ${kafka.topic}: there is nothing to catch up with, \`weir run\` begins at the log's start`,
      );
    }
    store = await openStore(job, options);
    const done = new Map<string, BackfilledPartition>();
    let isCaughtUp = (await leftOf(kafka.topic, store, positions)).every(({ left }) => left === 0);
    if (!isCaughtUp || options.follow) {
      const ofItsOwn = { ...kafka, group: `${kafka.group}.backfill` };
      source = await openSource({ config: { ...job.config, source: { kafka: ofItsOwn } } }, options);
      isCaughtUp = await catchUp({ job, store, source, positions, done }, options);
    }
    const left = await leftOf(kafka.topic, store, positions);
    return {
      partitions: left.map(({ name, fence, left }) => ({ ...(done.get(name) ?? notBegun(name, fence)), left })),
      isCaughtUp,
      seconds: (clock.monotonic() - startedAt) / 1000,
    };
  } finally {
    await source?.close();
    await positions.close();
    await store?.close();
  }
}

function kafkaOf({ config }: CompiledJob) {
  const { source, state, sink } = config;
  if (source.kafka && state.redis && !sink.file) return source.kafka;
  throw new WeirError(
    'CONFIG',
    `a backfill beside the running job needs ${whyNot(config)}. Files of the past can be read with --file`,
  );
}

function whyNot({ source, state }: CompiledJob['config']): string {
  if (source.kinesis) {
    return 'a Kafka source, whose log it reads as a consumer group beside the live one. With source.kinesis deploy the config: each shard applies what it still has before it goes on scoring. Who cannot wait runs it meanwhile as a job of its own, with other names in job, source.kinesis.application and the sink; docs/kinesis.md says how';
  }
  const why = state.redis
    ? 'a job of files has one process and no group whose position could be seen from outside'
    : 'state.embedded is for one process at a time';
  return `source.kafka, a sink that is no file, and state.redis: ${why}, and \`weir run\` rebuilds the state itself at its start`;
}

/** How far the stored state is behind the group, of each partition that the group has a position of. */
async function leftOf(topic: string, store: StateStore, positions: GroupPositions) {
  const left: { name: string; fence: number; left: number }[] = [];
  for (const [partition, position] of await positions.now()) {
    if (position === undefined) continue;
    const name = partitionName({ stream: topic, partition });
    const fence = (await store.fence(name)) ?? 0;
    left.push({ name, fence, left: Math.max(0, position - fence) });
  }
  return left;
}
