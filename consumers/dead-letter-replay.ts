import type { Clock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { formatOf, type Surroundings } from './components.ts';
import { longestKey } from './config.ts';
import { demandPartition, type LetterSelection, readLetters } from './dead-letters.ts';
import { createDecoder } from './decode/decoder.ts';
import { createClient } from './kafka/client.ts';
import { type KafkaSinkConfig, type KafkaSourceConfig, sameCluster } from './kafka/config.ts';
import { openPutBack } from './kafka/put-back.ts';
import type { KinesisSinkConfig, KinesisSourceConfig } from './kinesis/config.ts';
import type { DeadLetterReason } from './ports.ts';
import type { PutBack } from './put-back.ts';
import { type NewPlace, positionText, type StoredLetter } from './stored-letter.ts';

/** What becomes of a selected letter. */
export type Verdict =
  /** Put back; in a dry run it would be, and there is no place. */
  | { readonly kind: 'replayed'; readonly to: NewPlace | undefined }
  /** Was put back before, or its letter is there twice. */
  | { readonly kind: 'already'; readonly to: NewPlace | undefined }
  /** Would be a dead letter again. */
  | { readonly kind: 'fails'; readonly reason: string; readonly message: string }
  /** Not all of its bytes are there. */
  | { readonly kind: 'cut' }
  /** Of another topic or stream than the job reads. */
  | { readonly kind: 'elsewhere' };

export interface ReplayOptions extends Surroundings {
  readonly selection: LetterSelection;
  readonly isDryRun: boolean;
  /** Called for each selected letter, once its fate is certain. */
  readonly onLetter: (letter: StoredLetter, verdict: Verdict) => void;
}

/** What a record has in a topic beside key and value, at most. */
const recordOverheadBytes = 64;

/**
 * Puts the records of dead letters that the config can read now back where they were, each once, whoever tries and however often.
 * @returns how many letters there are, selected or not.
 * @throws WeirError CONFIG where there is nothing to put them back to, or no way that counts them; FENCED when somebody else replays.
 */
export async function replayLetters(job: CompiledJob, options: ReplayOptions): Promise<number> {
  const { onLetter, isDryRun } = options;
  const ends = endsOf(job);
  const judge = createJudge(job, ends.stream, options.clock);
  await demandPartition(job, options.selection, options);
  // Before anything is read: what others have done is there to be seen then, and they do nothing more.
  const putBack = isDryRun ? undefined : await ends.open(options);
  const isTaken = new Set<string>();
  let waiting: StoredLetter[] = [];
  let waitingBytes = 0;

  async function put(to: PutBack): Promise<void> {
    if (waiting.length === 0) return;
    const letters = waiting;
    [waiting, waitingBytes] = [[], 0];
    const marks = await to.put(letters);
    for (const [index, letter] of letters.entries()) onLetter(letter, { kind: 'replayed', to: marks[index].replayed });
  }

  async function take(letter: StoredLetter, replayed: NewPlace | undefined): Promise<void> {
    const position = positionText(letter);
    const isRepeated = isTaken.has(position);
    const verdict: Verdict = replayed !== undefined || isRepeated ? { kind: 'already', to: replayed } : judge(letter);
    if (verdict.kind !== 'replayed') return onLetter(letter, verdict);
    isTaken.add(position);
    if (putBack === undefined) return onLetter(letter, verdict);
    const bytes = recordOverheadBytes + (letter.key?.length ?? 0) + (letter.value?.length ?? 0);
    if (waiting.length === putBack.mostRecords || waitingBytes + bytes > putBack.mostBytes) await put(putBack);
    waiting.push(copyOf(letter));
    waitingBytes += bytes;
  }

  try {
    const letters = await readLetters(job, options.selection, options, take, putBack?.marks);
    if (putBack !== undefined) await put(putBack);
    return letters;
  } finally {
    await putBack?.close();
  }
}

interface Ends {
  /** Topic or stream that the job reads. */
  readonly stream: string;
  open(surroundings: Surroundings): Promise<PutBack>;
}

function endsOf({ config }: CompiledJob): Ends {
  const { source, sink } = config;
  if (source.kafka && sink.kafka && sameCluster(source.kafka, sink.kafka)) return kafkaEnds(source.kafka, sink.kafka);
  if (source.kinesis && sink.kinesis) return kinesisEnds(source.kinesis, sink.kinesis);
  throw new WeirError(
    'CONFIG',
    `a replay puts records back into the topic or stream that the job reads, and marks them beside the dead letters: ${whyNot(config)}`,
  );
}

function whyNot({ source, sink }: CompiledJob['config']): string {
  if (source.file || sink.file)
    return 'this job has files on one side; mend the records, and read them as another file';
  const advice = 'copy the records by hand, weir dlq show --json has them whole';
  return source.kafka && sink.kafka
    ? 'they are in two clusters here, and no transaction holds both; copy the records by hand'
    : `this job has one in Kafka and the other in Kinesis, and nothing holds both; ${advice}`;
}

function kafkaEnds(source: KafkaSourceConfig, sink: KafkaSinkConfig): Ends {
  const { group, brokers, topic } = source;
  const options = {
    transactionalId: `${group}.dlq-replay`,
    transactionTimeoutMs: sink.transaction_timeout_ms,
    maxMessageBytes: sink.max_message_bytes,
    deadLetters: sink.dead_letters,
    brokers,
  };
  return { stream: topic, open: ({ log }) => openPutBack(createClient(source, log), options) };
}

function kinesisEnds(source: KinesisSourceConfig, sink: KinesisSinkConfig): Ends {
  return {
    stream: source.stream,
    async open({ clock }) {
      // Loaded where it is used: the SDK takes a fifth of a second.
      const kinesis = await import('./kinesis/put-back.ts');
      return kinesis.openPutBack({ source, sink, clock });
    },
  };
}

const counted = 'the transaction counts in the state, and put back it would be a repetition';
const scoredAgain = 'weir offsets reset to its offset scores it again';

/** Says what the config now in force makes of a letter's record. */
function createJudge({ config }: CompiledJob, topic: string, clock: Clock): (letter: StoredLetter) => Verdict {
  const decoder = createDecoder(config.event, formatOf(config.event), longestKey(config));
  const repetition = config.source.kafka ? `${counted}: ${scoredAgain}` : counted;
  return ({ stream, partition, offset, key, value, timestamp, truncatedFrom, reason: former }) => {
    if (stream !== topic) return { kind: 'elsewhere' };
    if (former === ('no-score' satisfies DeadLetterReason))
      return { kind: 'fails', reason: former, message: repetition };
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
