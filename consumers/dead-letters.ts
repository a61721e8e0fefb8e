import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import type { Surroundings } from './components.ts';
import { createClient } from './kafka/client.ts';
import { sinkConnection } from './kafka/config.ts';
import { readTopic } from './kafka/read-topic.ts';
import { positionText, type ReplayMark, readStored, type StoredLetter } from './kafka/stored-letter.ts';

/** Which letters are meant; what is left out excludes none. */
export interface LetterSelection {
  readonly reasons?: readonly string[];
  /** Partition that the record was read from, and its offset there. */
  readonly partition?: number;
  readonly offset?: number;
  /** Written at this time or later, milliseconds since the epoch. */
  readonly since?: number;
}

export function isSelected({ reason, partition, offset, at }: StoredLetter, selection: LetterSelection): boolean {
  return (
    (selection.reasons?.includes(reason) ?? true) &&
    partition === (selection.partition ?? partition) &&
    offset === (selection.offset ?? offset) &&
    at.timestamp >= (selection.since ?? Number.NEGATIVE_INFINITY)
  );
}

/** Offsets that replayed records have now, by their former positions (`positionText`). */
export type Replayed = ReadonlyMap<string, number>;

/**
 * Hands every selected dead letter to `visit`, in the order of its partition of the topic; a letter that was published twice comes twice.
 * @param visit also told where the record was put back, if it was.
 * @throws WeirError CONFIG for a job whose dead letters are in a file; OUTPUT when the topic is missing, BROKER when the brokers fail.
 */
export async function readLetters(
  job: CompiledJob,
  selection: LetterSelection,
  surroundings: Surroundings,
  visit: (letter: StoredLetter, replayed: number | undefined) => Promise<void> | void,
): Promise<void> {
  const replayed = await readMarks(job, surroundings);
  await readAll(job, 'letters', surroundings, (entry) => {
    if (!('letter' in entry) || !isSelected(entry.letter, selection)) return undefined;
    return visit(entry.letter, replayed.get(positionText(entry.letter)));
  });
}

/** Reads what was put back so far; of a large topic only that is kept. */
export async function readMarks(job: CompiledJob, surroundings: Surroundings): Promise<Map<string, number>> {
  const replayed = new Map<string, number>();
  await readAll(job, 'marks', surroundings, (entry) => {
    if ('mark' in entry) replayed.set(positionText(entry.mark), entry.mark.replayed);
  });
  return replayed;
}

type Entry = { readonly letter: StoredLetter } | { readonly mark: ReplayMark };

async function readAll(
  { config }: CompiledJob,
  what: 'letters' | 'marks',
  { clock, log }: Surroundings,
  visit: (entry: Entry) => Promise<void> | void,
): Promise<void> {
  const { source, sink, job } = config;
  if (sink.kafka === undefined) {
    throw new WeirError(
      'CONFIG',
      `this job's dead letters are lines of the file ${sink.file!.dead_letters}, to be read there; weir dlq is about sink.kafka`,
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
