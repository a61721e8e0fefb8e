import type { KafkaMessage } from 'kafkajs';

/** A dead letter as the topic has it. */
export interface StoredLetter {
  /** Where the record was read. */
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly message: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The record's own timestamp, milliseconds since the epoch; undefined where it had none. */
  readonly timestamp: number | undefined;
  /** Bytes of the record's value, where the letter has only their beginning. */
  readonly truncatedFrom: number | undefined;
  /** Where the letter stands, and when it was written. */
  readonly at: { readonly partition: number; readonly offset: number; readonly timestamp: number };
}

/** Says that a record was put back. */
export interface ReplayMark {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  /** Offset that the record has now. */
  readonly replayed: number;
}

/** A record's position in text, the same for a letter and its mark. */
export function positionText({ stream, partition, offset }: Omit<ReplayMark, 'replayed'>): string {
  return `${stream}:${partition}:${offset}`;
}

/** Reads a record of the dead-letter topic; undefined for one that weir has not written. */
export function readStored(
  message: KafkaMessage,
  partition: number,
): { readonly letter: StoredLetter } | { readonly mark: ReplayMark } | undefined {
  const header = (name: string) => {
    const value = message.headers?.[name];
    return value === undefined ? undefined : String(value);
  };
  const [stream, from, at] = [header('weir-stream'), header('weir-partition'), header('weir-offset')];
  if (stream === undefined || from === undefined || at === undefined) return undefined;
  const position = { stream, partition: Number(from), offset: Number(at) };
  const replayed = header('weir-replayed');
  if (replayed !== undefined) return { mark: { ...position, replayed: Number(replayed) } };
  const [reason, timestamp, truncated] = [header('weir-reason'), header('weir-timestamp'), header('weir-truncated')];
  if (reason === undefined) return undefined;
  return {
    letter: {
      ...position,
      reason,
      message: header('weir-message') ?? '',
      key: message.key,
      value: message.value,
      timestamp: timestamp === undefined ? undefined : Number(timestamp),
      truncatedFrom: truncated === undefined ? undefined : Number(truncated),
      at: { partition, offset: Number(message.offset), timestamp: Number(message.timestamp) },
    },
  };
}

/** The headers of a mark. */
export function markHeaders({ stream, partition, offset, replayed }: ReplayMark): Record<string, string> {
  return {
    'weir-replayed': String(replayed),
    'weir-stream': stream,
    'weir-partition': String(partition),
    'weir-offset': String(offset),
  };
}
