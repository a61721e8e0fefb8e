/**
 * The two sides of the pipeline. A source yields ownerships of partitions; a sink opens an output for each, which publishes risk
 * events, dead letters and the input position as one step. Where the position lives is the sink's business when it can commit
 * both together (a Kafka transaction, a file beside its checkpoint) and the ownership's own checkpoint otherwise.
 */

/** Adapters: kafka/source.ts, kinesis/source.ts, file/source.ts; contract in test/contract/source.ts. */
export interface Source {
  /** Yields each partition as it is gained, until the signal aborts or nothing more can come (a file: once). */
  ownerships(signal: AbortSignal): AsyncIterable<Ownership>;
  /** Leaves the group. Ownerships still held are revoked. */
  close(): Promise<void>;
}

/** How the bytes of a record are laid out. */
export type RecordFormat =
  | { readonly type: 'json' }
  | { readonly type: 'csv'; readonly columns: readonly string[]; readonly delimiter: string };

/** The right to read one partition, until it is revoked or released. */
export interface Ownership {
  readonly stream: string;
  readonly partition: number;
  /**
   * How many partitions the stream has as far as the source knows by now, numbered from 0; who owns them all needs no state from others.
   * Infinity where they come and go under other numbers.
   */
  readonly partitions: number;
  /**
   * Those of the partitions that have something left to be read and may be read by now; all where absent. Shards that were split or merged have
   * nothing left, and what follows them may not be read before.
   */
  readable?(): readonly number[];
  /**
   * Those of the partitions that this one came from, however far back: all of them were read to their end before it began. Absent where partitions
   * do not come from others.
   */
  readonly ancestors?: () => readonly number[];
  /**
   * When the stream is known to have got more partitions since the job has begun, milliseconds since the epoch: from then on keys may lie in
   * another partition than before. -Infinity, or absent: not.
   */
  grownAt?(): number;
  readonly format: RecordFormat;
  /** The stream had its other partitions before this one, and the job has begun with them: all of its records are newer than that. */
  readonly isAdded?: boolean;
  /** What the input is like; whoever keeps the position is to keep it with that. */
  readonly mark?: InputMark;
  /** Aborts when the partition now belongs to somebody else; reading and publishing then fail with code FENCED. */
  readonly revoked: AbortSignal;
  /**
   * Aborts when another process waits for the partition: it is to be given back once what is under way is published and stored. Absent where that
   * is not asked for.
   */
  readonly recalled?: AbortSignal;
  /** First offset still in the log, and the offset behind its present last record. */
  range(): Promise<{ readonly earliest: number; readonly end: number }>;
  /**
   * The next records at or after the position, as many as are at hand up to the source's batch limit; an empty batch when none
   * came within the source's wait. Going on where the last batch ended is cheap; any other position seeks.
   * @throws WeirError FENCED once revoked; INPUT or BROKER when the source fails for good.
   */
  read(position: number): Promise<RawBatch>;
  /**
   * The position kept by the source itself (Kafka: the group's committed offset); undefined when there is none. Of a log that was begun and
   * nothing published of, it may be the beginning.
   */
  checkpointed(): Promise<number | undefined>;
  checkpoint(position: number): Promise<void>;
  /** Tells through which position the state store has confirmed the partition's state; for a source that must know before its log may end. */
  stored?(fence: number): void;
  /**
   * Resolves when somebody who knows has said, after the call, that the partition is still this process's, or that it is not: then it is
   * revoked. Absent where nobody else can get it.
   */
  confirmed?(): Promise<void>;
  /** Gives the partition back. */
  release(): Promise<void>;
}

export interface InputMark {
  /** It may change. */
  readonly text: string;
  /** Whether this is the input that the text, which was kept, was the mark of, as it was or grown since. */
  continues(text: string): Promise<boolean>;
}

/** Undecoded records of one partition as columns, in log order. */
export interface RawBatch {
  /** Record bytes; null where the record has no value. Views into shared memory: copy what is kept beyond the batch. */
  readonly values: readonly (Buffer | null)[];
  readonly keys: readonly (Buffer | null)[];
  readonly offsets: readonly number[];
  /** When the broker got the record, milliseconds since the epoch; NaN where the source has no such time (files). */
  readonly timestamps: readonly number[];
  /** Position behind this batch: where the next read goes on. May lie beyond the last offset + 1 (control records). */
  readonly next: number;
  /** The log's end (exclusive offset) as known at this read. next >= end: caught up. */
  readonly end: number;
  /** Offsets that were to be read before these records and are not in the log any more: its retention has cut them. */
  readonly lost?: { readonly from: number; readonly to: number };
}

/** Adapters: kafka/sink.ts, file/sink.ts; contract in test/contract/sink.ts. */
export interface Sink {
  /** Opens the output for one owned partition, fencing any earlier owner first. */
  open(ownership: Ownership): Promise<Output>;
  close(): Promise<void>;
}

export interface Output {
  /** The input position committed so far; undefined when nothing was ever published for the partition. */
  position(): Promise<number | undefined>;
  /**
   * Publishes all and commits the position, as one step where the sink can; else the position soon after, in the background, where
   * sync() waits for it. After a rejection, which may be that of an earlier position, the output is unusable:
   * close it, open another, and go on from its position().
   * @throws WeirError FENCED when another owner has taken over; OUTPUT or BROKER otherwise.
   */
  publish(batch: OutputBatch, position: number): Promise<void>;
  /** Makes sure that all that is published stays so, with its position, if the process or the machine fails now. Absent where publish() has seen to that. */
  sync?(): Promise<void>;
  close(): Promise<void>;
}

/** Risk events and dead letters of one input batch, in input order. */
export interface OutputBatch {
  readonly events: readonly OutputEvent[];
  readonly deadLetters: readonly DeadLetter[];
}

/** One CloudEvent: Kafka sends it in binary mode (attributes as headers), files in structured JSON, one a line. */
export interface OutputEvent {
  /** The source record's key. */
  readonly key: Buffer | null;
  /** CloudEvents id: deterministic, `{stream}:{partition}:{offset}`. */
  readonly id: string;
  /** CloudEvents time: the event time, RFC 3339. */
  readonly time: string;
  /** CloudEvents data: JSON in UTF-8. */
  readonly data: Buffer;
}

/** A record that could not be scored, kept whole with the reason. */
export interface DeadLetter {
  readonly key: Buffer | null;
  /** The original bytes. */
  readonly value: Buffer | null;
  readonly reason: DeadLetterReason;
  /** What is wrong, where in the record. */
  readonly message: string;
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  /** When the broker got the record, milliseconds since the epoch; NaN where the source has no such time. */
  readonly timestamp: number;
}

export type DeadLetterReason =
  | 'not-json' // not JSON, or not a CSV row of the header's width
  | 'missing-field'
  | 'wrong-type'
  | 'out-of-range' // NaN, negative or huge number
  | 'unknown-kind'
  | 'empty-id'
  | 'future-time' // further ahead of the broker's timestamp than the limit
  | 'oversized'
  | 'no-value' // a tombstone
  | 'no-score'; // the model answers no probability; the transaction is in the state

/** "stream:partition", the partition's name in state stores, metrics and logs. */
export function partitionName(of: { readonly stream: string; readonly partition: number }): string {
  return `${of.stream}:${of.partition}`;
}
