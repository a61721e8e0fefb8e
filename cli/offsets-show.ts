import { Command } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import { groupOf, type OffsetsView, viewOffsets } from '../consumers/offsets.ts';
import { viewShardOffsets } from '../consumers/shard-offsets.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { shardOffsetsAsJson, shardOffsetsAsText } from './shard-offsets.ts';
import { lostSentence, standingRemark } from './standing-remark.ts';
import { table } from './table.ts';

interface Flags extends JobFlags {
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir offsets show --config job.yaml
  $ weir offsets show --config job.yaml --json

Kafka: the group's committed offsets, the log's range and the state's fences. The lag is what is still to be read; what the log
deleted before that is told apart.
Kinesis: each shard's checkpoint with its position, the state's fence, and when the checkpoint's record was put.

Reads only, also while the job runs; nothing is changed. What a start re-applies is the log between fence and position: it
publishes nothing of that.`;

/** `weir offsets show`. */
export function offsetsShowCommand(): Command {
  return withJobOptions(new Command('show').description('show positions, lag, and how far the state is stored'))
    .option('--json', 'print one JSON line')
    .addHelpText('after', examples)
    .action(show);
}

async function show(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const surroundings = surroundingsOf(job);
  const { kinesis } = job.config.source;
  if (kinesis) {
    const view = await viewShardOffsets(job, kinesis, surroundings);
    const of = { job: job.config.job, recipe: job.set.recipe };
    const now = surroundings.clock.now();
    print(
      flags,
      () => ({ ...of, ...shardOffsetsAsJson(view) }),
      () => shardOffsetsAsText(job.set.recipe, view, now),
    );
    return;
  }
  const view = await viewOffsets(job, surroundings);
  print(
    flags,
    () => asJson(job, view),
    () => asText(job, view),
  );
}

function print({ json }: Flags, asJson: () => object, asText: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(asJson())}\n` : asText());
}

function asJson(job: CompiledJob, { members, partitions }: OffsetsView): object {
  const { topic, group } = groupOf(job);
  return {
    job: job.config.job,
    recipe: job.set.recipe,
    topic,
    group,
    members: members.map(({ clientId, host, partitions: of }) => ({ client_id: clientId, host, partitions: of })),
    partitions: partitions.map(({ committed, fence, trouble, ...of }) => ({
      partition: of.partition,
      committed: committed ?? null,
      begin: of.begin,
      end: of.end,
      lag: of.lag,
      lost: of.lost,
      fence: fence ?? null,
      reapplied: of.reapplied,
      trouble: trouble ?? null,
    })),
  };
}

function asText(job: CompiledJob, { members, partitions }: OffsetsView): string {
  const { topic, group } = groupOf(job);
  const named = members.map(
    ({ clientId, host, partitions: of }) => `${clientId} at ${host} (${of.join(', ') || 'no partition'})`,
  );
  const rows = partitions.map((of) => [
    ...[of.partition, of.committed ?? '', of.begin, of.end, of.lag, of.fence ?? '', of.reapplied],
  ]);
  return [
    `Group ${group} in topic ${topic}, state of recipe ${job.set.recipe}; members: ${named.join(', ') || 'none'}\n`,
    table(['partition', 'committed', 'log begins', 'log ends', 'lag', 'fence', 're-applied at a start'], rows),
    ...partitions.filter(({ lost }) => lost > 0).map((of) => `${lostSentence(of)}\n`),
    ...partitions.map(standingRemark).flatMap((remark) => (remark === undefined ? [] : [`${remark}\n`])),
  ].join('');
}
