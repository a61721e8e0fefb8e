import type { KafkaMessage } from 'kafkajs';
import type { ReplayMark, StoredEntry } from '../stored-letter.ts';

/** Reads a record of the dead-letter topic; undefined for one that weir has not written. */
export function readStored(message: KafkaMessage, partition: number): StoredEntry | undefined {
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
      at: { partition, offset: Number(message.offset) },
      writtenAt: Number(message.timestamp),
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
