import type { DecodedBatch } from './decode/decoder.ts';
import type { RawBatch } from './ports.ts';
import { rowsOf } from './published-rows.ts';

/** Records and what was decoded of them. */
export interface ReadBatch {
  readonly raw: RawBatch;
  readonly decoded: DecodedBatch;
}

/** Cuts a batch in two in front of a row: each has the records, rows and dead letters of its own stretch of the log. */
export function splitAt(read: ReadBatch, row: number): [ReadBatch, ReadBatch | undefined] {
  const { raw, decoded } = read;
  const { batch, deadLetters } = decoded;
  if (row === batch.count) return [read, undefined];
  const index = batch.rawIndexes[row];
  const offset = raw.offsets[index];
  return [
    {
      raw: { ...recordsOf(raw, 0, index), next: offset, end: raw.end },
      decoded: {
        ...rowsBetween(decoded, 0, row, 0),
        deadLetters: deadLetters.filter((letter) => letter.offset < offset),
      },
    },
    {
      raw: { ...recordsOf(raw, index, raw.offsets.length), next: raw.next, end: raw.end },
      decoded: {
        ...rowsBetween(decoded, row, batch.count, index),
        deadLetters: deadLetters.filter((letter) => letter.offset >= offset),
      },
    },
  ];
}

function recordsOf({ values, keys, offsets, timestamps }: RawBatch, from: number, to: number) {
  return {
    values: values.slice(from, to),
    keys: keys.slice(from, to),
    offsets: offsets.slice(from, to),
    timestamps: timestamps.slice(from, to),
  };
}

/** @param firstRecord where the stretch's records begin in those that the rows were decoded from. */
function rowsBetween({ batch, keys }: DecodedBatch, from: number, to: number, firstRecord: number) {
  const kept = Array.from({ length: to - from }, (_, index) => from + index);
  const rows = rowsOf(batch, kept);
  return {
    batch: { ...rows, rawIndexes: rows.rawIndexes.map((index) => index - firstRecord) },
    keys: keys.slice(from, to),
  };
}
