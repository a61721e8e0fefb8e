import { z } from 'zod';
import { embeddedStoreConfig } from './embedded/config.ts';
import { redisStoreConfig } from './redis/config.ts';

/** Where the entities' state is kept, and how it is cached. */
export const stateConfig = z
  .strictObject({
    redis: redisStoreConfig.optional().meta({ description: 'Redis 6.2 or later that never evicts' }),
    embedded: embeddedStoreConfig.optional().meta({ description: 'LMDB in a folder, for a single process' }),
    flush_interval_ms: z.int().min(0).max(600_000).default(1_000).meta({
      description:
        "Least time between two writes of a partition's changed state; what changes meanwhile is written once",
    }),
    refresh_ms: z.int().min(0).max(600_000).default(100).meta({
      description:
        'Copies of the state that other processes write are read again before use when older than this; of entities whose features are all delayed, when these may miss something, and after ten seconds',
    }),
    when_away: z.enum(['pause', 'degrade']).default('pause').meta({
      description:
        'While the store is out of reach: pause waits, and the lag grows; degrade goes on with what is in memory, marks the features that miss something, and makes the state anew afterwards',
    }),
    cache_entities: z.int().min(2).default(200_000).meta({ description: 'Entities of each type kept in memory' }),
  })
  .refine(({ redis, embedded }) => (redis === undefined) !== (embedded === undefined), {
    message: 'state needs exactly one of redis, embedded',
  });

export type StateConfig = z.output<typeof stateConfig>;
