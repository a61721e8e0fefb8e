import { Command } from 'commander';
import { demandPartition, readLetters } from '../consumers/dead-letters.ts';
import type { NewPlace, StoredLetter } from '../consumers/stored-letter.ts';
import { noneSelected, type SelectionFlags, selectionOf, withSelection } from './dlq-selection.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';

interface Flags extends JobFlags, SelectionFlags {
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir dlq list --config job.yaml
  $ weir dlq list --config job.yaml --reason missing-field --since 2026-01-09T12:00:00Z --json

Reads the topic or stream of dead letters from its beginning, as often as you like; nothing is changed. Partition (on
Kinesis the shard's number) and offset are those that the record was read from. A letter that was replayed says where its
record is now: at which offset, on Kinesis shard and sequence number.
Exit code 3: with --offset, there is no such letter.`;

/** `weir dlq list`. */
export function dlqListCommand(): Command {
  return withSelection(withJobOptions(new Command('list').description('list dead letters')))
    .option('--json', 'print one JSON line for each')
    .addHelpText('after', examples)
    .action(list);
}

async function list(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const selection = selectionOf(flags);
  const surroundings = surroundingsOf(job);
  await demandPartition(job, selection, surroundings);
  let count = 0;
  const print = (letter: StoredLetter, replayed: NewPlace | undefined) => {
    const text = flags.json ? asJson(letter, replayed) : `${count === 0 ? heads : ''}${asText(letter, replayed)}`;
    count++;
    process.stdout.write(`${text}\n`);
  };
  const letters = await readLetters(job, selection, surroundings, print);
  if (count > 0) return;
  const sentence = noneSelected(selection, letters);
  if (!flags.json) process.stdout.write(sentence);
}

/** A line each, as they come: there may be more than fit into memory. */
function line(position: readonly [string, string], ...texts: readonly string[]): string {
  const [partition, offset] = position;
  const [written, reason, replayed, message] = texts;
  const place = `${partition.padStart(9)}  ${offset.padStart(12)}`;
  return `${place}  ${written.padEnd(24)}  ${reason.padEnd(13)}  ${replayed.padStart(12)}  ${message}`;
}

const heads = `${line(['partition', 'offset'], 'written', 'reason', 'replayed as', 'message')}\n`;

function asText(
  { partition, offset, reason, message, writtenAt }: StoredLetter,
  replayed: NewPlace | undefined,
): string {
  const written = new Date(writtenAt).toISOString();
  return line([String(partition), String(offset)], written, reason, shortPlace(replayed), message);
}

/** A sequence number has 56 digits: its end tells it from others. */
function shortPlace(place: NewPlace | undefined): string {
  return typeof place === 'string' ? place.replace(/^shardId-0*(\d+):\d*(\d{8})$/, '$1:…$2') : String(place ?? '');
}

function asJson(letter: StoredLetter, replayed: NewPlace | undefined): string {
  const { stream, partition, offset, reason, message, value, truncatedFrom, writtenAt } = letter;
  return JSON.stringify({
    stream,
    partition,
    offset,
    reason,
    message,
    written: new Date(writtenAt).toISOString(),
    bytes: truncatedFrom ?? value?.length ?? 0,
    cut: truncatedFrom !== undefined,
    replayed: replayed ?? null,
  });
}
