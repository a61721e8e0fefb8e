import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { Wanted } from '../consumers/kinesis/wanted-place.ts';
import type { PlannedMove, ResetTarget } from '../consumers/offset-plan.ts';
import { planReset } from '../consumers/offset-reset.ts';
import { planShardReset } from '../consumers/shard-reset.ts';
import { WeirError } from '../runtime/errors.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { planText } from './offset-plan-text.ts';
import { shardPlanText } from './shard-plan-text.ts';
import { timeOption } from './time-option.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags extends JobFlags {
  readonly toEarliest?: boolean;
  readonly toLatest?: boolean;
  readonly toOffset?: string;
  readonly toTime?: string;
  readonly partition: readonly string[];
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

const examples = `
Examples:
  $ weir offsets reset --config job.yaml --to-time 2026-01-09T12:00:00Z --dry-run
  $ weir offsets reset --config job.yaml --to-offset 41200 --partition 3 --yes
  $ weir offsets reset --config job.yaml --to-earliest

Prints what will happen to state and output, and asks before it does it. Refused while the group has members, or the
application workers that live. Of Kinesis all shards are moved together, to a time, the beginning or the end. Going back,
transactions are scored and published again with the ids that they had; state that reaches beyond the new position is
dropped and made anew from the log at the next start. Going forward, what lies between gets into the state, never into the
output. After a reset with Kafka's own tool, run this one to the same place. docs/operations.md has the details.`;

/** `weir offsets reset`. */
export function offsetsResetCommand(): Command {
  return withJobOptions(new Command('reset').description('move positions, and take the state along'))
    .option('--to-earliest', "to the log's beginning")
    .option('--to-latest', "to the log's end")
    .option('--to-offset <n>', 'to this offset')
    .option(
      '--to-time <time>',
      'to the first record that the broker got at this time (ISO 8601 with its zone, or ms since 1970) or later',
    )
    .option(
      '--partition <n>',
      'only this partition; may be repeated',
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .option('--dry-run', 'only print what would happen')
    .option('--yes', 'do not ask')
    .addHelpText('after', examples)
    .action(reset);
}

async function reset(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const target = targetOf(flags);
  const { kinesis } = job.config.source;
  if (kinesis) {
    const wanted = wantedOf(target, flags);
    const plan = await planShardReset(job, kinesis, wanted, surroundingsOf(job));
    await decide(flags, plan, shardPlanText(kinesis, wanted, plan.moves), () => {});
    return;
  }
  const partitions = flags.partition.map((text) => wholeNumber('--partition', text, 0, 1e6));
  const plan = await planReset(job, target, partitions.length === 0 ? undefined : partitions, surroundingsOf(job));
  await decide(flags, plan, planText(job, target, plan.moves), () => demandWithin(plan.moves));
}

/** @param demand what has to hold where nobody looks at the plan. */
async function decide(
  { dryRun, yes }: Flags,
  plan: { carryOut(): Promise<void>; close(): Promise<void> },
  text: string,
  demand: () => void,
): Promise<void> {
  try {
    process.stdout.write(text);
    if (dryRun) return;
    if (yes) demand();
    else await demandConsent();
    await plan.carryOut();
    process.stdout.write('Done.\n');
  } finally {
    await plan.close();
  }
}

/** @throws WeirError CONFIG for what only Kafka has. */
function wantedOf(target: ResetTarget, { partition }: Flags): Wanted {
  if (partition.length > 0) {
    throw new WeirError(
      'CONFIG',
      '--partition is not for Kinesis: shards follow from one another by splits and merges, so all of a stream are moved together',
    );
  }
  if ('offset' in target) {
    throw new WeirError(
      'CONFIG',
      '--to-offset is not for Kinesis: each shard counts its own records; say --to-earliest, --to-latest or --to-time T',
    );
  }
  return target;
}

/** @throws WeirError CONFIG unless exactly one is given. */
function targetOf({ toEarliest, toLatest, toOffset, toTime }: Flags): ResetTarget {
  const given = [toEarliest, toLatest, toOffset, toTime].filter((flag) => flag !== undefined);
  if (given.length !== 1) {
    throw new WeirError('CONFIG', 'say where to: one of --to-earliest, --to-latest, --to-offset N, --to-time T');
  }
  if (toOffset !== undefined) return { offset: wholeNumber('--to-offset', toOffset, 0, Number.MAX_SAFE_INTEGER) };
  if (toTime !== undefined) return { time: timeOption('--to-time', toTime) };
  return { to: toEarliest ? 'earliest' : 'latest' };
}

/** @throws WeirError CONFIG for what is likely a slip. */
function demandWithin(moves: readonly PlannedMove[]): void {
  const beyond = moves.find(({ asked, end }) => asked > end);
  if (beyond === undefined) return;
  throw new WeirError(
    'CONFIG',
    `nothing is changed: the log of partition ${beyond.partition} ends at ${beyond.end}, before offset ${beyond.asked}; say --to-latest where the end is meant, with --partition for some partitions only`,
  );
}

/** @throws WeirError CONFIG when nobody says yes. */
async function demandConsent(): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new WeirError('CONFIG', 'nothing is changed: add --yes to do it where nobody can be asked');
  }
  const questions = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await questions.question('Do it? [y/N] ');
    if (!/^y(es)?$/i.test(answer.trim())) throw new WeirError('CONFIG', 'nothing is changed');
  } finally {
    questions.close();
  }
}
