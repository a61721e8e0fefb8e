import type { Redis } from 'ioredis';
import type { RedisKeys } from './keys.ts';

/** The lowest fence of a partition over all slot groups; undefined where one of them has none. */
export async function lowestFence(
  redis: Redis,
  keys: RedisKeys,
  groups: number,
  partition: string,
): Promise<number | undefined> {
  const names = Array.from({ length: groups }, (_, group) => keys.fence(group, partition));
  const texts = await Promise.all(names.map((name) => redis.get(name)));
  const lowest = Math.min(...texts.map((text) => Number(text ?? -1)));
  return lowest < 0 ? undefined : lowest;
}
