import { Command } from 'commander';
import { viewFleet } from '../consumers/fleet.ts';
import { kafkaFleetAsJson, kafkaFleetAsText } from './fleet-kafka.ts';
import { kinesisFleetAsJson, kinesisFleetAsText } from './fleet-kinesis.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';

interface Flags extends JobFlags {
  readonly once?: boolean;
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir fleet status --config job.yaml
  $ weir fleet status --config job.yaml --json
  $ weir fleet status --config kinesis.yaml --once

Kafka: the consumer group's state and members, and each partition's owner, position, lag and stored state.
Kinesis: each shard's state, parents and children, the lease with its owner, the checkpoint and the stored state. Whether an owner lives is
seen by the lease's counter: it is watched until all have renewed, failover_time_ms at most; --once looks without waiting.

It only reads: it joins no group, takes no lease, and reads no records. What wants attention stands below the tables. docs/operations.md says how
to read it. Exit code 3: there is no such topic, group, stream or lease table yet.`;

/** `weir fleet status`. */
export function fleetStatusCommand(): Command {
  return withJobOptions(new Command('status').description('show partitions or shards, their owners, positions and lag'))
    .option('--once', 'do not wait for leases to be renewed (Kinesis)')
    .option('--json', 'print one JSON line')
    .addHelpText('after', examples)
    .action(show);
}

async function show(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const surroundings = surroundingsOf(job);
  const view = await viewFleet(job, surroundings, flags.once ?? false);
  const of = { job: job.config.job, recipe: job.set.recipe };
  const now = surroundings.clock.now();
  if (flags.json) {
    const shown = view.kind === 'kafka' ? kafkaFleetAsJson(view) : kinesisFleetAsJson(view);
    process.stdout.write(`${JSON.stringify({ ...of, ...shown })}\n`);
  } else process.stdout.write(view.kind === 'kafka' ? kafkaFleetAsText(view, now) : kinesisFleetAsText(view, now));
}
