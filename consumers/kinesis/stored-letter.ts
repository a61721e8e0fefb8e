import { z } from 'zod';
import type { ReplayMark, StoredEntry } from '../stored-letter.ts';
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

const markLine = z.object({ ...position, replayed: z.union([z.string(), z.number()]) });

const signLine = z.object({
  replay: z.enum(['begun', 'alive', 'putting', 'ended']),
  run: z.string(),
  records: z.array(z.object(position)).default([]),
});

/** What a replay says of itself beside the letters: that it has begun, is alive, is about to put these records back, has ended. */
export interface ReplaySign extends Readonly<z.output<typeof signLine>> {
  readonly sequence: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Reads a record of the dead-letter stream; undefined for one that weir has not written. */
export function readStored(
  { data, sequence, arrivedAt }: ShardRecord,
  shard: string,
): StoredEntry | { readonly sign: ReplaySign } | undefined {
  const json = jsonIn(data);
  const letter = letterLine.safeParse(json).data;
  if (letter !== undefined) {
    const { stream, partition, offset, reason, message, key, value, encoding, truncated_from: truncatedFrom } = letter;
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
  const mark = markLine.safeParse(json).data;
  if (mark !== undefined) return { mark };
  const sign = signLine.safeParse(json).data;
  return sign && { sign: { ...sign, sequence, at: arrivedAt } };
}

function jsonIn(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch {
    return undefined;
  }
}

export function markText({ stream, partition, offset, replayed }: ReplayMark): string {
  return `${JSON.stringify({ replayed, stream, partition, offset })}\n`;
}

export function signText({ replay, run, records }: Pick<ReplaySign, 'replay' | 'run' | 'records'>): string {
  const named = records.map(({ stream, partition, offset }) => ({ stream, partition, offset }));
  return `${JSON.stringify({ replay, run, ...(named.length > 0 && { records: named }) })}\n`;
}
