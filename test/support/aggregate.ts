import { createHash } from 'node:crypto';

/** A user record as the Kinesis Producer Library takes it. */
export interface ProducedRecord {
  readonly key: string;
  readonly explicitHash?: string;
  readonly data: Uint8Array;
  readonly tags?: readonly string[];
}

/** The records as one Kinesis record's data, as the Kinesis Producer Library writes it. */
export function aggregate(records: readonly ProducedRecord[]): Buffer {
  return framed(aggregatedRecord(records));
}

/** Magic and digest around whatever the message is. */
export function framed(message: Buffer): Buffer {
  const digest = createHash('md5').update(message).digest();
  return Buffer.concat([Buffer.from('f3899ac2', 'hex'), message, digest]);
}

function aggregatedRecord(records: readonly ProducedRecord[]): Buffer {
  const keys = [...new Set(records.map(({ key }) => key))];
  const hashes = [...new Set(records.flatMap(({ explicitHash }) => explicitHash ?? []))];
  return Buffer.concat([
    ...keys.map((key) => field(1, Buffer.from(key))),
    ...hashes.map((hash) => field(2, Buffer.from(hash))),
    ...records.map((record) => field(3, recordMessage(record, keys, hashes))),
  ]);
}

function recordMessage({ key, explicitHash, data, tags }: ProducedRecord, keys: string[], hashes: string[]): Buffer {
  return Buffer.concat([
    number(1, keys.indexOf(key)),
    ...(explicitHash === undefined ? [] : [number(2, hashes.indexOf(explicitHash))]),
    field(3, data),
    ...(tags ?? []).map((tag) => field(4, field(1, Buffer.from(tag)))),
  ]);
}

export function field(tag: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(tag * 8 + 2), varint(value.length), value]);
}

export function number(tag: number, value: number): Buffer {
  return Buffer.concat([varint(tag * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}
