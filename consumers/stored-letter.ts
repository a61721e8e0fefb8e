/** A dead letter as its topic or stream has it. */
export interface StoredLetter {
  /** Where the record was read. */
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly message: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The record's own timestamp, milliseconds since the epoch; undefined where it had none, or the letter does not say. */
  readonly timestamp: number | undefined;
  /** Bytes of the record's value, where the letter has only their beginning. */
  readonly truncatedFrom: number | undefined;
  /** Where the letter stands: in a topic or in a stream. */
  readonly at:
    | { readonly partition: number; readonly offset: number }
    | { readonly shard: string; readonly sequence: string };
  /** When it was written, milliseconds since the epoch. */
  readonly writtenAt: number;
}

/** Where a replayed record is now: in Kafka its offset in the same partition, in Kinesis the shard's id and a sequence number. */
export type NewPlace = number | string;

/** Says that a record was put back. */
export interface ReplayMark {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  readonly replayed: NewPlace;
}

/** What the place of dead letters holds. */
export type StoredEntry = { readonly letter: StoredLetter } | { readonly mark: ReplayMark };

/** A record's position in text, the same for a letter and its mark. */
export function positionText({ stream, partition, offset }: Omit<ReplayMark, 'replayed'>): string {
  return `${stream}:${partition}:${offset}`;
}
