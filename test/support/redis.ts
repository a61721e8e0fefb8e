import { redisStoreConfig } from '../../features/redis/config.ts';
import { createRedisStore, type RedisStoreOptions } from '../../features/redis/store.ts';
import type { StateStore } from '../../features/store.ts';
import { systemClock } from '../../runtime/clock.ts';

export const day = 86_400_000;

export const storeOptions: RedisStoreOptions = {
  job: 'test',
  recipe: '0123456789ab',
  retentionMs: () => 30 * day,
  clock: systemClock,
  onCommand: () => {},
};

/** A store with settings as in a config file, and options that a test may leave out. */
export function openRedisStore(settings: object, options: Partial<RedisStoreOptions> = {}): Promise<StateStore> {
  return createRedisStore(redisStoreConfig.parse(settings), { ...storeOptions, ...options });
}
