import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import type { PlannedMove, ResetTarget } from '../consumers/offset-plan.ts';
import { planReset } from '../consumers/offset-reset.ts';
import { groupOf } from '../consumers/offsets.ts';
import { WeirError } from '../runtime/errors.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { lostSentence } from './standing-remark.ts';
import { table } from './table.ts';
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

Prints what will happen to state and output, and asks before it does it. Refused while the group has members. Going back,
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
  const partitions = flags.partition.map((text) => wholeNumber('--partition', text, 0, 1e6));
  const plan = await planReset(job, target, partitions.length === 0 ? undefined : partitions, surroundingsOf(job));
  try {
    process.stdout.write(planText(job, target, plan.moves));
    if (flags.dryRun) return;
    await demandConsent(flags, plan.moves);
    await plan.carryOut();
    process.stdout.write('Done.\n');
  } finally {
    await plan.close();
  }
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

/** @throws WeirError CONFIG when nobody says yes, or nobody looks at what is likely a slip. */
async function demandConsent({ yes }: Flags, moves: readonly PlannedMove[]): Promise<void> {
  const beyond = moves.find(({ asked, end }) => asked > end);
  if (yes && beyond !== undefined) {
    throw new WeirError(
      'CONFIG',
      `nothing is changed: the log of partition ${beyond.partition} ends at ${beyond.end}, before offset ${beyond.asked}; say --to-latest where the end is meant, with --partition for some partitions only`,
    );
  }
  if (yes) return;
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

const count = (value: number): string => value.toLocaleString('en-US');

function planText(job: CompiledJob, target: ResetTarget, moves: readonly PlannedMove[]): string {
  const { topic, group } = groupOf(job);
  const rows = moves.map((of) => [
    ...[of.partition, of.committed ?? '', of.to, of.begin, of.end, of.fence ?? ''],
    ...[of.repeated, of.skipped, of.beyond, of.reapplied],
  ]);
  const heads = [
    ...['partition', 'committed', 'new', 'log begins', 'log ends', 'fence'],
    ...['published again', 'never published', 'sub-states dropped', 're-applied'],
  ];
  const lost = moves.filter((move) => move.lost > 0).map((move) => lostSentence(move));
  const lines = [...moves.flatMap((move) => nearest(move, target)), ...lost, ...remarks(moves)];
  return [
    `Group ${group} in topic ${topic}, to ${targetText(target)}:\n`,
    table(heads, rows),
    ...lines.map((line) => `${line}\n`),
  ].join('');
}

function targetText(target: ResetTarget): string {
  if ('offset' in target) return `offset ${target.offset}`;
  if ('time' in target) return `the first record of ${new Date(target.time).toISOString()} or later`;
  return target.to === 'earliest' ? "the log's beginning" : "the log's end";
}

/** Says where the position is not what was asked for. */
function nearest({ partition, asked, to, begin, end }: PlannedMove, target: ResetTarget): string[] {
  if (asked < begin)
    return [`Partition ${partition}: the log begins at ${begin}, behind offset ${asked}: its beginning.`];
  if (asked > end) return [`Partition ${partition}: the log ends at ${end}, before offset ${asked}: its end.`];
  if ('time' in target && to === end)
    return [`Partition ${partition}: no record is of that time or later: the log's end.`];
  return [];
}

function remarks(moves: readonly PlannedMove[]): string[] {
  const sum = (of: (move: PlannedMove) => number) => moves.reduce((total, move) => total + of(move), 0);
  const [repeated, skipped, reapplied] = [sum((of) => of.repeated), sum((of) => of.skipped), sum((of) => of.reapplied)];
  const short = moves.filter(({ knownFrom }) => knownFrom !== undefined).map(({ partition }) => partition);
  return [
    ...(repeated > 0
      ? [
          `Output: ${count(repeated)} records are scored and published again, with the ids that they had: subscribers must leave out what they know.`,
        ]
      : []),
    ...(skipped > 0 ? [`Output: ${count(skipped)} records get into the state, but are never scored.`] : []),
    ...(moves.some(({ isRewound }) => isRewound)
      ? ['State: what reaches beyond the new position is dropped, with the fence of its partition.']
      : []),
    ...(reapplied > 0
      ? [`State: the next start re-applies ${count(reapplied)} records, publishing nothing, before it scores.`]
      : []),
    ...(short.length > 0
      ? [
          `State: the log of partition ${short.join(', ')} no longer has what was before: windows that reach behind its beginning will be incomplete until they have filled.`,
        ]
      : []),
  ];
}
