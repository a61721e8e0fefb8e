/**
 * How far a shard is done with: the last record that is, by its sequence number and, within an aggregated record, its index. A
 * sentinel stands in for the number before the first record is done and after the last.
 */
export interface Checkpoint {
  /** A decimal number of up to 186 bits, or a sentinel. */
  readonly sequence: string;
  readonly sub: number;
}

/** Sentinels as the Kinesis Client Library orders them against sequence numbers. */
const sentinels: Readonly<Record<string, bigint>> = { AT_TIMESTAMP: -3n, TRIM_HORIZON: -2n, LATEST: -1n };

export const trimHorizon: Checkpoint = { sequence: 'TRIM_HORIZON', sub: 0 };

export const shardEnd: Checkpoint = { sequence: 'SHARD_END', sub: 0 };

export function isShardEnd({ sequence }: Checkpoint): boolean {
  return sequence === shardEnd.sequence;
}

/** True before the first record of a shard is done: reading begins at the oldest, the newest, or a time that the config has. */
export function isInitial({ sequence }: Checkpoint): boolean {
  return sequence in sentinels;
}

/** Negative when a is before b. */
export function compareCheckpoints(a: Checkpoint, b: Checkpoint): number {
  if (isShardEnd(a) || isShardEnd(b)) return Number(isShardEnd(a)) - Number(isShardEnd(b));
  const difference = orderOf(a) - orderOf(b);
  return difference === 0n ? a.sub - b.sub : difference < 0n ? -1 : 1;
}

export function isSequence(text: string): boolean {
  return text in sentinels || text === shardEnd.sequence || isSequenceNumber(text);
}

/** False for a sentinel. */
export function isSequenceNumber(text: string): boolean {
  return /^\d{1,57}$/.test(text);
}

function orderOf({ sequence }: Checkpoint): bigint {
  return sentinels[sequence] ?? BigInt(sequence);
}
