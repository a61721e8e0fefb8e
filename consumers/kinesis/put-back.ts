import { hash, randomBytes } from 'node:crypto';
import { type KinesisClient, PutRecordCommand } from '@aws-sdk/client-kinesis';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import type { PutBack } from '../put-back.ts';
import { type NewPlace, positionText, type ReplayMark, type StoredLetter } from '../stored-letter.ts';
import { kinesisClient } from './aws.ts';
import { type KinesisSinkConfig, type KinesisSourceConfig, sinkRegion } from './config.ts';
import { readDeadLetters } from './dead-letter-stream.ts';
import { awsFault } from './faults.ts';
import { type Entry, type PutAnswer, putInOrder, RefusedEntries } from './put-records.ts';
import { type RecordPlace, readStream } from './read-stream.ts';
import { openReplayJournal, type ReplayJournal } from './replay-journal.ts';
import { listShards } from './shard-list.ts';
import { outputFault, partitionKeyOf, putEntries } from './sink.ts';
import { markText, signText } from './stored-letter.ts';

export interface KinesisPutBackOptions {
  readonly source: KinesisSourceConfig;
  readonly sink: KinesisSinkConfig;
  readonly clock: Clock;
}

const mostRecords = 100;
/** What Kinesis takes by one request, unless an account has more. */
const mostRequestBytes = 5_242_880;
const mostBytes = 4_000_000;
/** With the time to connect and to be answered, a request has failed before another replay may begin. */
const requestMs = 5_000;
/** By how much the source stream's clock may be behind that of the dead-letter stream, and a copy seem older than the word that announced it. */
const behindMs = 60_000;
/** Of all that replays say of themselves: one key has one order. */
const signKey = 'weir-dlq-replay';

/**
 * Takes the turn to replay, and finds out what former replays did without marking it.
 * @throws WeirError FENCED when another one may be at work; else as AWS answers.
 */
export async function openPutBack({ source, sink, clock }: KinesisPutBackOptions): Promise<PutBack> {
  const place = sinkRegion(sink, source);
  const letters = kinesisClient(place, requestMs);
  const input = kinesisClient(source, requestMs);
  // Sent once: what may have been carried out is looked for by the next replay.
  const records = kinesisClient(source, requestMs, 1);
  const limits = { patienceMs: sink.patience_ms, clock, random: seededRandom(randomBytes(4).readUInt32LE()) };
  let isSettled = true;

  async function say(sign: Parameters<typeof signText>[0]): Promise<RecordPlace> {
    const record = { StreamName: sink.dead_letters, PartitionKey: signKey, Data: Buffer.from(signText(sign)) };
    try {
      const { ShardId, SequenceNumber } = await letters.send(new PutRecordCommand(record));
      return { shard: ShardId!, sequence: SequenceNumber! };
    } catch (error) {
      throw outputFault(error, `writing to stream ${sink.dead_letters}`);
    }
  }

  async function putMarks(marks: readonly ReplayMark[]): Promise<void> {
    const entries = marks.map((mark) => ({ partitionKey: positionText(mark), data: Buffer.from(markText(mark)) }));
    const put = (part: readonly Entry[]) => putRecords(letters, sink.dead_letters, part, () => {});
    try {
      await putInOrder(entries, { ...limits, put, mostBytes: sink.max_request_bytes, onThrottled: () => {} });
    } catch (error) {
      throw outputFault(error, `writing to stream ${sink.dead_letters}`);
    }
  }

  let journal: ReplayJournal | undefined;

  async function putAll(entries: readonly Entry[]): Promise<string[]> {
    const places = new Map<Entry, string>();
    const put = (part: readonly Entry[]) => {
      journal!.demandTurn();
      return putRecords(records, source.stream, part, (entry, at) => places.set(entry, at));
    };
    try {
      await putInOrder(entries, { ...limits, put, mostBytes: mostRequestBytes, onThrottled: () => {} });
    } catch (error) {
      throw inputFault(error, source.stream);
    }
    return entries.map((entry) => places.get(entry)!);
  }

  async function close(): Promise<void> {
    await journal?.close(isSettled);
    for (const client of [letters, input, records]) client.destroy();
  }

  try {
    // Before anything is written: there may be no such stream.
    await listShards(input, source).list('all');
    journal = await openReplayJournal({
      clock,
      say,
      putMarks,
      read: (through, visit) =>
        readDeadLetters(sink, place, clock, (entry) => ('letter' in entry ? undefined : visit(entry)), through),
    });
    const { marks } = journal;
    const found = await findUnmarked(journal, input, { source, sink, clock });
    await journal.mark(found);
    for (const mark of found) marks.set(positionText(mark), mark.replayed);
    return {
      mostRecords,
      mostBytes,
      marks,
      async put(selected) {
        isSettled = false;
        await journal!.intend(selected);
        const places = await putAll(selected.map(entryOf));
        const put = selected.map((letter, index) => markOf(letter, places[index]));
        await journal!.mark(put);
        isSettled = true;
        return put;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function putRecords(
  client: KinesisClient,
  stream: string,
  entries: readonly Entry[],
  onPut: (entry: Entry, place: string) => void,
): Promise<PutAnswer> {
  const answers = await putEntries(client, stream, entries);
  return answers.map(({ ErrorCode, ShardId, SequenceNumber }, index) => {
    if (ErrorCode === undefined) onPut(entries[index], placeText(ShardId!, SequenceNumber!));
    return ErrorCode;
  });
}

/**
 * A replay that ended in the middle may have put records back without marking them: looks for them in the source, among what has come since it
 * said that it would. Equal bytes under an equal key are the same record, whoever has put it; but one that is the copy of another letter already,
 * or older than the letter of an equal record, is none. The source's clock may be ahead by less than it took to make a letter of the record, else
 * the record itself would be taken for its copy.
 */
async function findUnmarked(
  { marks, doubts }: ReplayJournal,
  client: KinesisClient,
  { source, sink, clock }: KinesisPutBackOptions,
): Promise<ReplayMark[]> {
  if (doubts.size === 0) return [];
  const least = leastOf([...doubts.values()]) - behindMs;
  const letters: Written[] = [];
  const seen = new Set<string>();
  await readDeadLetters(sink, sinkRegion(sink, source), clock, (entry) => {
    if (!('letter' in entry) || entry.letter.stream !== source.stream) return;
    const { stream, partition, offset, writtenAt } = entry.letter;
    const name = positionText(entry.letter);
    if (seen.has(name) || (writtenAt < least && !doubts.has(name))) return;
    seen.add(name);
    const { partitionKey, data } = entryOf(entry.letter);
    letters.push({ position: { stream, partition, offset }, print: fingerprint(partitionKey, data), writtenAt });
  });
  const equal = Map.groupBy(letters, ({ print }) => print);
  const wanted = new Map([...equal].map(([print, of]) => [print, missingCopies(of, doubts)]));
  const times = [...wanted.values()].flatMap((copies) => copies.map((copy) => copy.since));
  const found: ReplayMark[] = [];
  if (times.length === 0) return found;
  const since = leastOf(times);
  const taken = new Set(marks.values());
  const shards = () => listShards(client, source).list('all');
  await readStream(client, { stream: source.stream, shards, clock, since }, (record, shard) => {
    const place = placeText(shard, record.sequence);
    const copies = wanted.get(fingerprint(record.partitionKey, record.data)) ?? [];
    const at = copies.findIndex((copy) => record.arrivedAt >= copy.since);
    if (at < 0 || taken.has(place)) return;
    const [{ position }] = copies.splice(at, 1);
    found.push(markOf(position, place));
  });
  return found;
}

type Position = Omit<ReplayMark, 'replayed'>;

interface Written {
  readonly position: Position;
  readonly print: string;
  readonly writtenAt: number;
}

interface MissingCopy {
  readonly position: Position;
  /** No copy of it arrived before, by the source's clock. */
  readonly since: number;
}

/** Of letters with equal records: none of the records themselves may be taken for a copy, and each is older than its letter. */
function missingCopies(letters: readonly Written[], doubts: ReadonlyMap<string, number>): MissingCopy[] {
  return letters.flatMap((letter) => {
    const { position } = letter;
    const doubt = doubts.get(positionText(position));
    if (doubt === undefined) return [];
    const before = letters.filter((one) => one === letter || one.writtenAt <= doubt);
    const since = before.reduce((time, { writtenAt }) => Math.max(time, writtenAt), doubt - behindMs);
    return [{ position, since }];
  });
}

const leastOf = (times: readonly number[]) => times.reduce((a, b) => Math.min(a, b));

function fingerprint(partitionKey: string, data: Buffer): string {
  return `${hash('sha256', data, 'base64')} ${partitionKey}`;
}

const placeText = (shard: string, sequence: string) => `${shard}:${sequence}`;

function entryOf(letter: StoredLetter): Entry {
  return { partitionKey: partitionKeyOf(letter.key) ?? positionText(letter), data: letter.value ?? Buffer.alloc(0) };
}

function markOf({ stream, partition, offset }: Position, replayed: NewPlace): ReplayMark {
  return { stream, partition, offset, replayed };
}

function inputFault(error: unknown, stream: string): WeirError {
  if (!(error instanceof RefusedEntries)) return awsFault(error, 'Kinesis', `putting records into stream ${stream}`);
  const advice = 'the stream has too few shards, or Kinesis is disturbed; the command may be run again';
  return new WeirError('BROKER', `Kinesis takes no more records into stream ${stream}: ${error.message}: ${advice}`);
}
