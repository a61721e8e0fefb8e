import { isUtf8 } from 'node:buffer';
import { Command } from 'commander';
import { readLetters } from '../consumers/dead-letters.ts';
import type { NewPlace, StoredLetter } from '../consumers/stored-letter.ts';
import { missingLetter } from './dlq-selection.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';
import { wholeNumber } from './whole-number.ts';

interface Flags extends JobFlags {
  readonly json?: boolean;
}

const examples = `
Examples:
  $ weir dlq show 2 41200 --config job.yaml
  $ weir dlq show 2 41200 --config job.yaml --json

Partition and offset are those that the record was read from, as weir dlq list prints them. Bytes that are no text are
shown in hexadecimal digits, in JSON in base64. Exit code 3: there is no such letter.`;

/** `weir dlq show`. */
export function dlqShowCommand(): Command {
  return withJobOptions(new Command('show').description('show all of a dead letter'))
    .argument('<partition>', 'partition that the record was read from')
    .argument('<offset>', 'its offset there')
    .option('--json', 'print one JSON line')
    .addHelpText('after', examples)
    .action(show);
}

async function show(partitionText: string, offsetText: string, flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const partition = wholeNumber('the partition', partitionText, 0, 1e6);
  const offset = wholeNumber('the offset', offsetText, 0, Number.MAX_SAFE_INTEGER);
  let found = 0;
  await readLetters(job, { partition, offset }, surroundingsOf(job), (letter, replayed) => {
    found++;
    process.stdout.write(flags.json ? `${asJson(letter, replayed)}\n` : asText(letter, replayed));
  });
  if (found > 0) return;
  throw missingLetter(partition, offset);
}

function factsOf(
  { stream, partition, offset, reason, message, ...letter }: StoredLetter,
  replayed: NewPlace | undefined,
) {
  const { at, writtenAt, timestamp, truncatedFrom } = letter;
  const iso = (time: number | undefined) => (time === undefined ? null : new Date(time).toISOString());
  return {
    stream,
    partition,
    offset,
    reason,
    message,
    timestamp: iso(timestamp),
    written: iso(writtenAt),
    letter: at,
    cut_from_bytes: truncatedFrom ?? null,
    replayed: replayed ?? null,
  };
}

function asJson(letter: StoredLetter, replayed: NewPlace | undefined): string {
  const { key, value } = letter;
  return JSON.stringify({ ...factsOf(letter, replayed), key: inJson(key), value: inJson(value) });
}

const inJson = (bytes: Buffer | null) =>
  bytes === null ? null : isUtf8(bytes) ? { text: bytes.toString() } : { base64: bytes.toString('base64') };

function asText(letter: StoredLetter, replayed: NewPlace | undefined): string {
  const { letter: at, ...facts } = factsOf(letter, replayed);
  const lines = Object.entries({ ...facts, letter: placeText(at) })
    .filter(([, fact]) => fact !== null)
    .map(([name, fact]) => `${`${name.replaceAll('_', ' ')}:`.padEnd(16)}${fact}\n`);
  return `${lines.join('')}${bytesText('key', letter.key)}${bytesText('value', letter.value)}`;
}

function placeText(at: StoredLetter['at']): string {
  return 'shard' in at
    ? `${at.shard}, sequence number ${at.sequence}`
    : `partition ${at.partition}, offset ${at.offset}`;
}

function bytesText(name: string, bytes: Buffer | null): string {
  if (bytes === null) return `${name}: none\n`;
  return isUtf8(bytes)
    ? `${name}, ${bytes.length} bytes:\n${bytes.toString()}\n`
    : `${name}, ${bytes.length} bytes in hexadecimal digits:\n${bytes.toString('hex')}\n`;
}
