import type { Clock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { formatOf, type Surroundings } from './components.ts';
import { longestKey } from './config.ts';
import { demandPartition, type LetterSelection, readLetters } from './dead-letters.ts';
import { createDecoder } from './decode/decoder.ts';
import { createClient } from './kafka/client.ts';
import { type KafkaSinkConfig, type KafkaSourceConfig, sameCluster } from './kafka/config.ts';
import { openPutBack, type PutBack } from './kafka/put-back.ts';
import type { DeadLetterReason } from './ports.ts';
import { type NewPlace, positionText, type StoredLetter } from './stored-letter.ts';

/** What becomes of a selected letter. */
export type Verdict =
  /** Put back; in a dry run it would be, and there is no offset. */
  | { readonly kind: 'replayed'; readonly to: NewPlace | undefined }
  /** Was put back before, or stands in the topic twice. */
  | { readonly kind: 'already'; readonly to: NewPlace | undefined }
  /** Would be a dead letter again. */
  | { readonly kind: 'fails'; readonly reason: string; readonly message: string }
  /** Not all of its bytes are there. */
  | { readonly kind: 'cut' }
  /** Of another topic than the job reads. */
  | { readonly kind: 'elsewhere' };

export interface ReplayOptions extends Surroundings {
  readonly selection: LetterSelection;
  readonly isDryRun: boolean;
  /** Called for each selected letter, once its fate is certain. */
  readonly onLetter: (letter: StoredLetter, verdict: Verdict) => void;
}

/** Most records of one transaction. */
const transactionRecords = 100;
/** What a batch has beside its records, and a record beside key and value; at most. */
const batchOverheadBytes = 1_024;
const recordOverheadBytes = 64;

/**
 * Puts the records of dead letters that the config can read now back where they were, each once, whoever tries and however often.
 * @returns how many letters the topic has, selected or not.
 * @throws WeirError CONFIG where there is no topic or partition to put them back to, or it is in another cluster; FENCED when somebody else begins the same.
 */
export async function replayLetters(job: CompiledJob, options: ReplayOptions): Promise<number> {
  const { source, sink } = topicsOf(job);
  const { clock, log, onLetter, isDryRun } = options;
  const judge = createJudge(job, source.topic, clock);
  await demandPartition(job, options.selection, options);
  // Taken over before anything is read: what others have done is in the topic then, and they do nothing more.
  const putBack = isDryRun ? undefined : await openPutBack(createClient(source, log), putBackOptions(source, sink));
  const isTaken = new Set<string>();
  // What goes into one partition is one batch: all of a transaction may, and the brokers refuse one that is too long.
  const mostBytes = sink.max_message_bytes - batchOverheadBytes;
  let waiting: StoredLetter[] = [];
  let waitingBytes = 0;

  async function put(): Promise<void> {
    if (waiting.length === 0) return;
    const letters = waiting;
    [waiting, waitingBytes] = [[], 0];
    const marks = await (putBack as PutBack).put(letters);
    for (const [index, letter] of letters.entries()) onLetter(letter, { kind: 'replayed', to: marks[index].replayed });
  }

  try {
    const letters = await readLetters(job, options.selection, options, async (letter, replayed) => {
      const position = positionText(letter);
      const isRepeated = isTaken.has(position);
      const verdict: Verdict = replayed !== undefined || isRepeated ? { kind: 'already', to: replayed } : judge(letter);
      if (verdict.kind !== 'replayed') return onLetter(letter, verdict);
      isTaken.add(position);
      if (isDryRun) return onLetter(letter, verdict);
      const bytes = recordOverheadBytes + (letter.key?.length ?? 0) + (letter.value?.length ?? 0);
      if (waiting.length === transactionRecords || waitingBytes + bytes > mostBytes) await put();
      waiting.push(copyOf(letter));
      waitingBytes += bytes;
    });
    await put();
    return letters;
  } finally {
    await putBack?.close();
  }
}

function topicsOf({ config }: CompiledJob): { source: KafkaSourceConfig; sink: KafkaSinkConfig } {
  const { source, sink } = config;
  if (source.kafka && sink.kafka && sameCluster(source.kafka, sink.kafka)) {
    return { source: source.kafka, sink: sink.kafka };
  }
  const why =
    source.kafka && sink.kafka
      ? 'they are in two clusters here, and no transaction holds both; copy the records by hand'
      : 'this job has files on one side; mend the records, and read them as another file';
  throw new WeirError(
    'CONFIG',
    `a replay puts records from the topic of dead letters back into the topic that the job reads: ${why}`,
  );
}

function putBackOptions({ group, brokers }: KafkaSourceConfig, sink: KafkaSinkConfig) {
  return {
    transactionalId: `${group}.dlq-replay`,
    transactionTimeoutMs: sink.transaction_timeout_ms,
    deadLetters: sink.dead_letters,
    brokers,
  };
}

const counted =
  'the transaction counts in the state, and put back it would be a repetition: weir offsets reset to its offset scores it again';

/** Says what the config now in force makes of a letter's record. */
function createJudge({ config }: CompiledJob, topic: string, clock: Clock): (letter: StoredLetter) => Verdict {
  const decoder = createDecoder(config.event, formatOf(config.event), longestKey(config));
  return ({ stream, partition, offset, key, value, timestamp, truncatedFrom, reason: former }) => {
    if (stream !== topic) return { kind: 'elsewhere' };
    if (former === ('no-score' satisfies DeadLetterReason)) return { kind: 'fails', reason: former, message: counted };
    if (truncatedFrom !== undefined) return { kind: 'cut' };
    const columns = { values: [value], keys: [key], offsets: [offset], timestamps: [timestamp ?? clock.now()] };
    const { deadLetters } = decoder.decode({ ...columns, next: offset + 1, end: offset + 1 }, { stream, partition });
    if (deadLetters.length === 0) return { kind: 'replayed', to: undefined };
    const [{ reason, message }] = deadLetters;
    return { kind: 'fails', reason, message };
  };
}

/** Fetched bytes are views into memory of the whole fetch. */
function copyOf(letter: StoredLetter): StoredLetter {
  const { key, value } = letter;
  return { ...letter, key: key && Buffer.from(key), value: value && Buffer.from(value) };
}
