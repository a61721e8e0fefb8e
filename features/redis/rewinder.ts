import { WeirError } from '../../runtime/errors.ts';
import { fenceLifetimeMs } from '../expiry.ts';
import type { Limits, Rewinder } from '../rewinder.ts';
import { readScript } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { lowestFence } from './fences.ts';
import { redisKeys } from './keys.ts';

export interface RedisRewinderOptions {
  readonly job: string;
  readonly recipe: string;
}

const rewindScript = readScript('rewind.lua');

/** Keys that one SCAN looks at, and most entities of one call: Redis serves nobody else meanwhile. */
const scanKeys = 1_000;
const callKeys = 256;

/** @throws WeirError STORE when the server cannot be reached or refuses; so do the methods. */
export async function createRedisRewinder(
  config: RedisStoreConfig,
  { job, recipe }: RedisRewinderOptions,
): Promise<Rewinder> {
  const { groups } = config;
  const keys = redisKeys({ prefix: config.key_prefix, job, recipe, groups });
  const { redis, address, fault, close } = await connectRedis(config, `weir-${job}-offsets`, () => {});

  const answered = <T>(answer: Promise<T>, doing: string): Promise<T> =>
    answer.catch((error: unknown) => {
      throw fault(error, doing);
    });

  /** The entities' keys of one slot group each, at most `callKeys` at once. */
  async function* entities(): AsyncGenerator<{ group: number; names: string[] }> {
    const waiting = new Map<number, string[]>();
    let cursor = '0';
    do {
      const scanning = redis.scan(cursor, 'MATCH', keys.pattern, 'COUNT', scanKeys);
      const [next, names] = await answered(scanning, 'looking through the state');
      cursor = next;
      for (const name of names) {
        const group = keys.groupOfEntity(name);
        if (group === undefined) continue;
        const held = waiting.get(group) ?? [];
        waiting.set(group, held);
        if (held.push(name) === callKeys) yield { group, names: held.splice(0) };
      }
    } while (cursor !== '0');
    for (const [group, names] of waiting) if (names.length > 0) yield { group, names };
  }

  async function through(limits: Limits, drops: boolean, demand: () => void): Promise<Map<string, number>> {
    const counts = new Map([...limits.keys()].map((partition) => [partition, 0]));
    await answered(redis.script('LOAD', rewindScript.text), 'loading a script');
    const args = [limits.size, drops ? 1 : 0, ...[...limits].flat()];
    for await (const { group, names } of entities()) {
      demand();
      const fences = [...limits.keys()].map((partition) => keys.fence(group, partition));
      const calling = redis.evalsha(rewindScript.sha, fences.length + names.length, ...[...fences, ...names, ...args]);
      const found = await answered(calling, drops ? 'dropping state' : 'looking through the state');
      if (found === null) throw taken(address);
      for (const [index, partition] of [...limits.keys()].entries())
        counts.set(partition, counts.get(partition)! + (found as number[])[index]);
    }
    return counts;
  }

  async function dropFences(limits: Limits): Promise<void> {
    for (const partition of limits.keys()) {
      const names = Array.from({ length: groups }, (_, group) => keys.fence(group, partition));
      const dropping = names.map((name) => redis.set(name, '-1', 'EX', fenceLifetimeMs / 1000));
      await answered(Promise.all(dropping), 'dropping fences');
    }
  }

  return {
    fences: (partitions) =>
      answered(
        Promise.all(partitions.map((partition) => lowestFence(redis, keys, groups, partition))),
        'reading fences',
      ),
    countBeyond: (limits) => through(limits, false, () => {}),
    async eraseBeyond(limits, demand) {
      demand();
      await dropFences(limits);
      return through(limits, true, demand);
    },
    async close() {
      close();
    },
  };
}

function taken(address: string): WeirError {
  return new WeirError(
    'STORE',
    `somebody stores state of the partitions in Redis at ${address} meanwhile: stop all processes of the job, and run the command again`,
  );
}
