import { z } from 'zod';
import type { StoredEntry } from '../stored-letter.ts';
import type { ShardRecord } from './shard-log.ts';

const position = { stream: z.string(), partition: z.int().min(0), offset: z.int().min(0) };

/** Open, as what later versions write may have more. */
const letterLine = z.object({
  ...position,
  reason: z.string(),
  message: z.string(),
  key: z.string().nullable(),
  value: z.string().nullable(),
  encoding: z.literal('base64').optional(),
  truncated_from: z.int().optional(),
});

/** Reads a record of the dead-letter stream; undefined for one that weir has not written. */
export function readStored({ data, sequence, arrivedAt }: ShardRecord, shard: string): StoredEntry | undefined {
  const { data: line } = letterLine.safeParse(jsonIn(data));
  if (line === undefined) return undefined;
  const { stream, partition, offset, reason, message, key, value, encoding, truncated_from: truncatedFrom } = line;
  return {
    letter: {
      ...{ stream, partition, offset, reason, message, truncatedFrom },
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value, encoding),
      timestamp: undefined,
      at: { shard, sequence },
      writtenAt: arrivedAt,
    },
  };
}

function jsonIn(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch {
    return undefined;
  }
}
