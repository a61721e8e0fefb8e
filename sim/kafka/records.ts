import { batchHeadBytes } from '../../consumers/kafka/record-batch.ts';

/** A record of an output topic. */
export interface OutputRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<string, string>;
}

/** The records of an encoded batch, copied: its memory is used again. */
export function readRecords(batch: Buffer, count: number): OutputRecord[] {
  const bytes = Buffer.from(batch.subarray(batchHeadBytes));
  let at = 0;

  function varint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
  }

  function field(): Buffer | null {
    const length = varint();
    if (length < 0) return null;
    at += length;
    return bytes.subarray(at - length, at);
  }

  return Array.from({ length: count }, () => {
    varint(); // length
    at += 2; // attributes, and a time difference of 0
    varint(); // offset in the batch
    const key = field();
    const value = field();
    const headers = new Map<string, string>();
    for (let left = varint(); left > 0; left--) headers.set(String(field()), String(field()));
    return { key, value, headers };
  });
}
