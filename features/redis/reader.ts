import type { Clock } from '../../runtime/clock.ts';
import { byPartition, type InspectedSubState, type StoreReader } from '../store-reader.ts';
import { subStateHeader } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { lowestFence } from './fences.ts';
import { redisKeys } from './keys.ts';

export interface RedisReaderOptions {
  readonly job: string;
  readonly recipe: string;
  readonly clock: Clock;
}

/** @throws WeirError STORE when the server cannot be reached or refuses; so do the methods. */
export async function createRedisReader(
  config: RedisStoreConfig,
  { job, recipe, clock }: RedisReaderOptions,
): Promise<StoreReader> {
  const keys = redisKeys({ prefix: config.key_prefix, job, recipe, groups: config.groups });
  const { redis, fault, close } = await connectRedis(config, `weir-${job}-inspect`, () => {});

  async function fenceOf(group: number, partition: string): Promise<number | undefined> {
    const text = await redis.get(keys.fence(group, partition));
    return text === null ? undefined : Number(text);
  }

  return {
    async read(type, id) {
      const group = keys.groupOf(id);
      const now = clock.now() / 1000;
      try {
        const fields = await redis.hgetallBuffer(keys.entityPrefixes(type)[group] + id);
        const subStates = Object.entries(fields)
          .filter(([name, value]) => name !== 'v' && value.readUInt32BE(8) > now)
          .map(
            async ([partition, value]): Promise<InspectedSubState> => ({
              partition,
              offset: value.readDoubleBE(0),
              fence: await fenceOf(group, partition),
              bytes: value.subarray(subStateHeader),
            }),
          );
        return byPartition(await Promise.all(subStates));
      } catch (error) {
        throw fault(error, `reading the ${type} ${id}`);
      }
    },
    fences: (partitions) =>
      Promise.all(partitions.map((partition) => lowestFence(redis, keys, config.groups, partition))).catch((error) => {
        throw fault(error, 'reading fences');
      }),
    async close() {
      close();
    },
  };
}
