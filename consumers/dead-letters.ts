import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import type { Surroundings } from './components.ts';
import { connectAdmin, createClient } from './kafka/client.ts';
import { sinkConnection } from './kafka/config.ts';
import { missingPartition } from './kafka/faults.ts';
import { readTopic } from './kafka/read-topic.ts';
import { readStored } from './kafka/stored-letter.ts';
import { sinkRegion } from './kinesis/config.ts';
import { type NewPlace, positionText, type StoredEntry, type StoredLetter } from './stored-letter.ts';

/** Which letters are meant; what is left out excludes none. */
export interface LetterSelection {
  readonly reasons?: readonly string[];
  /** Partition that the record was read from, and its offset there. */
  readonly partition?: number;
  readonly offset?: number;
  /** Written at this time or later, milliseconds since the epoch. */
  readonly since?: number;
}

export function isSelected(
  { reason, partition, offset, writtenAt }: StoredLetter,
  selection: LetterSelection,
): boolean {
  return (
    (selection.reasons?.includes(reason) ?? true) &&
    partition === (selection.partition ?? partition) &&
    offset === (selection.offset ?? offset) &&
    writtenAt >= (selection.since ?? Number.NEGATIVE_INFINITY)
  );
}

/**
 * A partition that there is not has no letters either: a slip is not to look like good news.
 * @throws WeirError CONFIG for a partition that the job's topic or stream does not have; INPUT, BROKER when that cannot be looked at.
 */
export async function demandPartition(
  { config: { source, sink } }: CompiledJob,
  { partition }: LetterSelection,
  { clock, log }: Surroundings,
): Promise<void> {
  const { kafka, kinesis } = source;
  if (partition === undefined || sink.file !== undefined) return;
  if (kinesis !== undefined) {
    const { demandShard } = await import('./kinesis/dead-letter-stream.ts');
    return demandShard(kinesis, partition);
  }
  if (kafka === undefined) return;
  const { admin, partitions } = await connectAdmin(createClient(kafka, log), kafka, [kafka.topic], 'INPUT', clock);
  await admin.disconnect().catch(() => undefined);
  const count = partitions.get(kafka.topic)!;
  if (partition >= count) throw missingPartition(kafka.topic, partition, count);
}

/**
 * Hands every selected dead letter to `visit`, in the order of its partition of the topic or shard of the stream; a letter that was published
 * twice comes twice.
 * @param visit also told where the record was put back, if it was.
 * @param marks where records were put back, by former positions, where that is known; else it is read before.
 * @returns how many letters there are, selected or not.
 * @throws WeirError CONFIG for a job whose dead letters are in a file; OUTPUT when topic or stream is missing, BROKER when Kafka or Kinesis fails.
 */
export async function readLetters(
  job: CompiledJob,
  selection: LetterSelection,
  surroundings: Surroundings,
  visit: (letter: StoredLetter, replayed: NewPlace | undefined) => Promise<void> | void,
  marks?: ReadonlyMap<string, NewPlace>,
): Promise<number> {
  const replayed = marks ?? (await readMarks(job, surroundings));
  let letters = 0;
  await readAll(job, 'letters', surroundings, (entry) => {
    if (!('letter' in entry)) return undefined;
    letters++;
    if (!isSelected(entry.letter, selection)) return undefined;
    return visit(entry.letter, replayed.get(positionText(entry.letter)));
  });
  return letters;
}

/** Reads what was put back so far; of many letters only that is kept. */
async function readMarks(job: CompiledJob, surroundings: Surroundings): Promise<Map<string, NewPlace>> {
  const replayed = new Map<string, NewPlace>();
  await readAll(job, 'marks', surroundings, (entry) => {
    if ('mark' in entry) replayed.set(positionText(entry.mark), entry.mark.replayed);
  });
  return replayed;
}

async function readAll(
  { config }: CompiledJob,
  what: 'letters' | 'marks',
  { clock, log }: Surroundings,
  visit: (entry: StoredEntry) => Promise<void> | void,
): Promise<void> {
  const { source, sink, job } = config;
  if (sink.kinesis !== undefined) {
    // Loaded where it is used: the SDK takes a fifth of a second.
    const { readDeadLetters } = await import('./kinesis/dead-letter-stream.ts');
    const connection = sinkRegion(sink.kinesis, source.kinesis);
    return readDeadLetters(sink.kinesis, connection, clock, (entry) => ('sign' in entry ? undefined : visit(entry)));
  }
  if (sink.kafka === undefined) {
    throw new WeirError(
      'CONFIG',
      `this job's dead letters are lines of the file ${sink.file!.dead_letters}, to be read there; weir dlq is about sink.kafka and sink.kinesis`,
    );
  }
  const connection = sinkConnection(sink.kafka, source.kafka)!;
  const group = `${source.kafka?.group ?? job}.dlq-${what}-${process.pid}-${clock.now()}`;
  const topic = sink.kafka.dead_letters;
  await readTopic(createClient(connection, log), { connection, topic, group, clock }, (message, partition) => {
    const entry = readStored(message, partition);
    return entry === undefined ? undefined : visit(entry);
  });
}
