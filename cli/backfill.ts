import { Command } from 'commander';
import { type BackfillSummary, backfillFromLog } from '../consumers/backfill.ts';
import { backfillFromFile, type FileBackfillSummary } from '../consumers/backfill-file.ts';
import type { CompiledJob } from '../consumers/compile.ts';
import type { Surroundings } from '../consumers/components.ts';
import { WeirError } from '../runtime/errors.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { table } from './table.ts';
import { timeOption } from './time-option.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags extends JobFlags {
  readonly within?: string;
  readonly follow?: boolean;
  readonly file?: string;
  readonly before?: string;
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir backfill --config new.yaml
  $ weir backfill --config new.yaml --follow
  $ weir backfill --config new.yaml --file 2025.jsonl.gz --before 2026-01-01T00:00:00Z

Builds the state that a changed config retains, beside the state of the running job and while that goes on scoring: reads
the log behind the job's group, as the group <group>.backfill, and publishes nothing. Afterwards deploy the config: what
it then re-applies before it scores is what is printed as left. With --file it adds history that the log no longer has.
Interrupted or repeated, it goes on where it was. docs/operations.md has the whole procedure.`;

/** Batches behind the live group that are near enough: less than a second's work for \`weir run\`. */
const nearBatches = 10;

/** \`weir backfill\`: state for a new recipe, from the log or from files. */
export function backfillCommand(): Command {
  return withJobOptions(
    new Command('backfill').description('build the state of a changed config, beside the running job'),
  )
    .option(
      '--within <records>',
      "how near to the live group's position every partition is to come (default: 10 batches)",
    )
    .option('--follow', 'when that is reached, go on until stopped')
    .option('--file <path>', 'add the events of a file, JSON Lines or CSV by its name, also gzipped')
    .option(
      '--before <time>',
      'with --file: leave out events at or after this time, ISO 8601 with its zone, or milliseconds since the epoch',
    )
    .option('--json', 'at the end, print one JSON line')
    .addHelpText('after', examples)
    .action(backfill);
}

async function backfill(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const surroundings = surroundingsOf(job);
  const text =
    flags.file === undefined ? await fromLog(job, flags, surroundings) : await fromFile(job, flags, surroundings);
  process.stdout.write(`${text}\n`);
}

async function fromLog(job: CompiledJob, flags: Flags, surroundings: Surroundings): Promise<string> {
  if (flags.before !== undefined) throw new WeirError('CONFIG', '--before goes with --file');
  const within = wholeNumber('--within', flags.within ?? `${nearBatches * job.config.batch.max_events}`, 0, 1e12);
  const signal = stopSignal(surroundings.clock);
  const summary = await backfillFromLog(job, { ...surroundings, within, follow: flags.follow === true, signal });
  return flags.json ? JSON.stringify(logJson(job, summary)) : logText(job, summary);
}

async function fromFile(job: CompiledJob, flags: Flags, surroundings: Surroundings): Promise<string> {
  const [path, before] = [flags.file!, flags.before];
  if (flags.within !== undefined || flags.follow) {
    throw new WeirError('CONFIG', '--within and --follow are about the log; --file reads a file to its end');
  }
  if (before === undefined) {
    throw new WeirError(
      'CONFIG',
      "--file needs --before: the time from which on the log has the events, so that none counts twice; the event time of the log's first records, or any later time than the file's last event where the log goes on behind it",
    );
  }
  const signal = stopSignal(surroundings.clock);
  const summary = await backfillFromFile(job, {
    ...surroundings,
    path,
    before: timeOption('--before', before),
    signal,
  });
  return flags.json ? JSON.stringify(fileJson(job, summary)) : fileText(job, summary);
}

const rounded = (seconds: number): number => Number(seconds.toFixed(3));

function logJson({ config, set }: CompiledJob, { partitions, isCaughtUp, seconds }: BackfillSummary): object {
  return {
    job: config.job,
    recipe: set.recipe,
    caught_up: isCaughtUp,
    seconds: rounded(seconds),
    partitions: partitions.map(({ partition, from, to, events, left, ...of }) => ({
      partition,
      from: from ?? null,
      to,
      events,
      seconds: rounded(of.seconds),
      left,
    })),
  };
}

const count = (value: number): string => value.toLocaleString('en-US');

function logText({ config, set }: CompiledJob, { partitions, isCaughtUp, seconds }: BackfillSummary): string {
  const most = Math.max(0, ...partitions.map(({ left }) => left));
  if (isCaughtUp && partitions.every(({ from }) => from === undefined)) {
    const through = partitions.map(({ partition, to }) => `${partition} ${to}`).join(', ');
    return `Nothing to do: the state of recipe ${set.recipe} is complete through ${through}.`;
  }
  const rows = partitions.map(({ partition, from, to, events, left, ...of }) => [
    ...[partition, from ?? '', to, events, Number(of.seconds.toFixed(1)), left],
  ]);
  const next = isCaughtUp
    ? `Deploy the config: each partition then has ${count(most)} records or fewer to re-apply, and those that come until then.`
    : 'Stopped on the way: the same command goes on from here.';
  return [
    `State of recipe ${set.recipe} of job ${config.job}, built in ${seconds.toFixed(1)} s:`,
    table(['partition', 'from', 'to', 'events', 'seconds', 'left'], rows).trimEnd(),
    next,
  ].join('\n');
}

function fileJson({ config, set }: CompiledJob, summary: FileBackfillSummary): object {
  const { partition, from, to, events, unreadable, leftOut, isWhole, seconds } = summary;
  return {
    job: config.job,
    recipe: set.recipe,
    partition,
    from: from ?? null,
    to,
    events,
    unreadable,
    left_out: leftOut,
    whole: isWhole,
    seconds: rounded(seconds),
  };
}

function fileText({ set }: CompiledJob, summary: FileBackfillSummary): string {
  const { partition, from, to, events, unreadable, leftOut, isWhole, seconds } = summary;
  if (isWhole && from === undefined) {
    return `Nothing to do: the state of recipe ${set.recipe} has ${partition} through its last record, ${to}.`;
  }
  const parts = [
    `${count(events)} events added`,
    `${count(leftOut)} left out (--before)`,
    `${count(unreadable)} unreadable`,
  ];
  const next = isWhole ? '' : '\nStopped on the way: the same command goes on from here.';
  return `Records ${from ?? to} to ${to} of ${partition}, recipe ${set.recipe}: ${parts.join(', ')}, in ${seconds.toFixed(1)} s.${next}`;
}
