import { encodeCommand, type GroupCall, type Reply } from './call.ts';
import type { RedisKeys } from './keys.ts';

/** Asks for a partition's fence in each slot group. */
export function fenceCalls(keys: RedisKeys, partition: string): GroupCall[] {
  return keys.slots.map((_, group) => ({ group, bytes: encodeCommand('GET', keys.fence(group, partition)) }));
}

/** The answers, by group; -1: none. */
export function readFences(replies: readonly Reply[]): Float64Array {
  return Float64Array.from(replies, (reply) => (reply === null ? -1 : Number(String(reply))));
}

/** The lowest, which is what is stored of the partition as a whole; undefined where a group has none. */
export function lowestFence(fences: Float64Array): number | undefined {
  const lowest = fences.reduce((least, fence) => Math.min(least, fence));
  return lowest < 0 ? undefined : lowest;
}
