import { hash } from 'node:crypto';

/** The hash keys that go to a shard: decimal numbers of 128 bits, both inclusive. */
export interface HashRange {
  readonly start: string;
  readonly end: string;
}

/** Whether user records belong to a shard, by the hash key that Kinesis would send them by. */
export interface HashFilter {
  /** By the MD5 of the partition key. */
  hasKey(partitionKey: Buffer): boolean;
  /** By the hash key that the producer has stated, decimal. */
  hasHash(explicit: string): boolean;
}

const largest = 2n ** 128n - 1n;

/** Undefined where the range leaves nothing out. */
export function hashFilter({ start, end }: HashRange): HashFilter | undefined {
  const [first, last] = [BigInt(start), BigInt(end)];
  if (first === 0n && last === largest) return undefined;
  const [firstBytes, lastBytes] = [toBytes(first), toBytes(last)];
  return {
    hasKey(partitionKey) {
      const hashed = hash('md5', partitionKey, 'buffer');
      return firstBytes.compare(hashed) <= 0 && hashed.compare(lastBytes) <= 0;
    },
    hasHash(explicit) {
      const hashed = BigInt(explicit);
      return first <= hashed && hashed <= last;
    },
  };
}

function toBytes(number: bigint): Buffer {
  return Buffer.from(number.toString(16).padStart(32, '0'), 'hex');
}
