import { hash } from 'node:crypto';
import type { HashFilter } from './hash-range.ts';
import { readLength, readVarint, skipValue, WireError, type WireReader, wireType } from './proto2.ts';

/** User records as columns, in log order. */
export interface UserRecords {
  /** Partition keys, UTF-8. */
  readonly keys: Buffer[];
  readonly values: Buffer[];
  /** Index of each within its Kinesis record: the sub-sequence number. */
  readonly subs: number[];
}

const magic = Buffer.from([0xf3, 0x89, 0x9a, 0xc2]);
const digestBytes = 16;

/**
 * Appends the user records of one Kinesis record: what the Kinesis Producer Library put into it (magic, AggregatedRecord in proto2, MD5), or
 * else the record itself. Of an aggregated record those are left out whose hash key is outside of the shard's range: before a reshard
 * they were sent with others. The library's consumer drops all the rest of the record at the first of them.
 * @param filter undefined where the shard has all hash keys.
 * @returns how many user records there are, those left out among them: sub-sequence numbers run from 0 to that.
 */
export function deaggregate(key: string, data: Buffer, filter: HashFilter | undefined, into: UserRecords): number {
  const before = into.subs.length;
  if (isAggregated(data)) {
    try {
      return append(readAggregate(data), filter, into);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      for (const column of [into.keys, into.values, into.subs]) column.length = before;
    }
  }
  into.keys.push(Buffer.from(key));
  into.values.push(data);
  into.subs.push(0);
  return 1;
}

function isAggregated(data: Buffer): boolean {
  if (data.length < magic.length + digestBytes || data.compare(magic, 0, 4, 0, 4) !== 0) return false;
  const end = data.length - digestBytes;
  return hash('md5', data.subarray(magic.length, end), 'buffer').equals(data.subarray(end));
}

interface Aggregate {
  readonly partitionKeys: readonly Buffer[];
  readonly hashKeys: readonly string[];
  /** Where each record's message begins and ends. */
  readonly bounds: readonly number[];
  readonly bytes: Buffer;
}

/** message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2; repeated Record records = 3; } */
function readAggregate(bytes: Buffer): Aggregate {
  const reader: WireReader = { bytes, at: magic.length, end: bytes.length - digestBytes };
  const partitionKeys: Buffer[] = [];
  const hashKeys: string[] = [];
  const bounds: number[] = [];
  while (reader.at < reader.end) {
    const tag = readVarint(reader);
    const field = tag >>> 3;
    if ((tag & 7) !== wireType.bytes || field < 1 || field > 3) {
      skipValue(reader, tag & 7);
      continue;
    }
    const end = readLength(reader);
    if (field === 1) partitionKeys.push(bytes.subarray(reader.at, end));
    else if (field === 2) hashKeys.push(hashKeyOf(bytes.toString('latin1', reader.at, end)));
    else bounds.push(reader.at, end);
    reader.at = end;
  }
  return { partitionKeys, hashKeys, bounds, bytes };
}

function hashKeyOf(text: string): string {
  if (!/^\d{1,39}$/.test(text)) throw new WireError('an explicit hash key is no number');
  return text;
}

function append(aggregate: Aggregate, filter: HashFilter | undefined, into: UserRecords): number {
  const { partitionKeys, bounds, bytes } = aggregate;
  const hasKey = filter && remembered(partitionKeys, filter.hasKey);
  const hasHash = filter && remembered(aggregate.hashKeys, filter.hasHash);
  const record = { key: 0, hash: 0, from: 0, to: 0 };
  const reader = { bytes, at: 0, end: 0 };
  const count = bounds.length / 2;
  for (let sub = 0; sub < count; sub++) {
    reader.at = bounds[sub * 2];
    reader.end = bounds[sub * 2 + 1];
    readRecord(reader, record);
    if (record.key >= partitionKeys.length || record.hash >= aggregate.hashKeys.length) {
      throw new WireError('a record names a key that is not there');
    }
    if (hasKey && hasHash && !(record.hash < 0 ? hasKey(record.key) : hasHash(record.hash))) continue;
    into.keys.push(partitionKeys[record.key]);
    into.values.push(bytes.subarray(record.from, record.to));
    into.subs.push(sub);
  }
  return count;
}

/** message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2; required bytes data = 3; … } */
function readRecord(reader: WireReader, record: { key: number; hash: number; from: number; to: number }): void {
  record.key = -1;
  record.hash = -1;
  record.from = -1;
  while (reader.at < reader.end) {
    const tag = readVarint(reader);
    if (tag === ((1 << 3) | wireType.varint)) record.key = readVarint(reader);
    else if (tag === ((2 << 3) | wireType.varint)) record.hash = readVarint(reader);
    else if (tag === ((3 << 3) | wireType.bytes)) {
      record.to = readLength(reader);
      record.from = reader.at;
      reader.at = record.to;
    } else skipValue(reader, tag & 7);
  }
  if (record.key < 0 || record.from < 0) throw new WireError('a record has no key or no data');
}

/** Asks of each entry of a table once. */
function remembered<T>(table: readonly T[], ask: (entry: T) => boolean): (index: number) => boolean {
  const answers = new Int8Array(table.length).fill(-1);
  return (index) => {
    if (answers[index] < 0) answers[index] = Number(ask(table[index]));
    return answers[index] === 1;
  };
}
