import { type RedisStoreConfig, redisStoreConfig } from '../../features/redis/config.ts';
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

/** Settings as in a config file. A Redis that stands still with the machine is waited for, unless they say otherwise. */
export function redisSettings(settings: object): RedisStoreConfig {
  return redisStoreConfig.parse({ connect_timeout_ms: 60_000, command_timeout_ms: 60_000, ...settings });
}

/** A store with settings as in a config file, and options that a test may leave out. */
export function openRedisStore(settings: object, options: Partial<RedisStoreOptions> = {}): Promise<StateStore> {
  return createRedisStore(redisSettings(settings), { ...storeOptions, ...options });
}
