import { Command } from 'commander';
import { replayLetters, type Verdict } from '../consumers/dead-letter-replay.ts';
import type { StoredLetter } from '../consumers/stored-letter.ts';
import { WeirError } from '../runtime/errors.ts';
import { noneSelected, type SelectionFlags, selectionOf, withSelection } from './dlq-selection.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';

interface Flags extends JobFlags, SelectionFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir dlq replay --config mended.yaml --all --dry-run
  $ weir dlq replay --config mended.yaml --reason missing-field --since 2026-01-09T12:00:00Z
  $ weir dlq replay --config mended.yaml --partition 2 --offset 41200

Puts the original record back into what the job reads, where the running job scores it: at the end of the partition that it
came from, in Kinesis under its key. Only records that this config can read are put back; the others are listed with what
is wrong. Each is put back once, also when it is tried again, by two people at once, or after a crash; in Kinesis, which has
no transactions, a crash may leave exceptions. Exit code 3: with --offset, there is no such letter; 8: somebody else
replays. docs/operations.md says more.`;

/** `weir dlq replay`. */
export function dlqReplayCommand(): Command {
  return withSelection(
    withJobOptions(new Command('replay').description('put records back that the config can read now')),
  )
    .option('--all', 'all letters')
    .option('--dry-run', 'only say what would be put back, and what would fail')
    .option('--json', 'print one JSON line for each letter')
    .addHelpText('after', examples)
    .action(replay);
}

async function replay(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const selection = selectionOf(flags);
  const isAll = Object.values(selection).every((value) => value === undefined);
  if (isAll === (flags.all !== true)) {
    throw new WeirError('CONFIG', 'say which: --all, or some of --reason, --partition (and --offset), --since');
  }
  const counts = new Map<Verdict['kind'], number>();
  const noun = job.config.source.kinesis ? 'stream' : 'topic';
  const onLetter = (letter: StoredLetter, verdict: Verdict) => {
    counts.set(verdict.kind, (counts.get(verdict.kind) ?? 0) + 1);
    if (flags.json) process.stdout.write(`${asJson(letter, verdict, noun)}\n`);
    else if (isLeft(verdict)) process.stdout.write(`${placeOf(letter)}: ${sentence(letter, verdict, noun)}\n`);
  };
  const isDryRun = flags.dryRun === true;
  const letters = await replayLetters(job, { ...surroundingsOf(job), selection, isDryRun, onLetter });
  const none = counts.size === 0 ? noneSelected(selection, letters) : '';
  if (!flags.json) process.stdout.write(`${none}${summary(counts, isDryRun, noun)}`);
}

/** What a person has to do something about. */
const isLeft = ({ kind }: Verdict) => kind === 'fails' || kind === 'cut' || kind === 'elsewhere';

const placeOf = ({ partition, offset }: StoredLetter) => `partition ${partition}, offset ${offset}`;

function sentence({ stream, truncatedFrom, value }: StoredLetter, verdict: Verdict, noun: string): string {
  if (verdict.kind === 'fails') return `${verdict.reason}: ${verdict.message}`;
  if (verdict.kind === 'cut') {
    return `the letter has only ${value?.length ?? 0} of ${truncatedFrom} bytes: the producer has to send the record again`;
  }
  return `the record was read from ${stream}, which is not the ${noun} of this job`;
}

function asJson(letter: StoredLetter, verdict: Verdict, noun: string): string {
  const { stream, partition, offset } = letter;
  const to = 'to' in verdict ? (verdict.to ?? null) : null;
  const said = isLeft(verdict) ? sentence(letter, verdict, noun) : null;
  return JSON.stringify({ stream, partition, offset, outcome: verdict.kind, replayed: to, message: said });
}

function summary(counts: ReadonlyMap<Verdict['kind'], number>, isDryRun: boolean, noun: string): string {
  const count = (kind: Verdict['kind']) => (counts.get(kind) ?? 0).toLocaleString('en-US');
  const left = (counts.get('fails') ?? 0) + (counts.get('cut') ?? 0) + (counts.get('elsewhere') ?? 0);
  return [
    `${count('replayed')} ${isDryRun ? 'would be put back' : 'put back'}`,
    `${count('already')} were before`,
    `${left.toLocaleString('en-US')} left: ${count('fails')} would fail again, ${count('cut')} cut, ${count('elsewhere')} of another ${noun}\n`,
  ].join(', ');
}
