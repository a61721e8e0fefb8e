import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { fenceLifetimeMs } from '../expiry.ts';
import { frontierId, frontierType } from '../frontier.ts';
import type { Limits, Rewinder } from '../rewinder.ts';
import { encodeCommand, type GroupCall, type Reply, readScript } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { fenceCalls, lowestFence, readFences } from './fences.ts';
import { redisKeys } from './keys.ts';

export interface RedisRewinderOptions {
  readonly job: string;
  readonly recipe: string;
  readonly clock: Clock;
}

const rewindScript = readScript('rewind.lua');

/** Keys that one SCAN looks at, and most entities of one call: Redis serves nobody else meanwhile. */
const scanKeys = 1_000;
const callKeys = 256;

/** @throws WeirError STORE when a server cannot be reached or refuses; so do the methods. */
export async function createRedisRewinder(
  config: RedisStoreConfig,
  { job, recipe, clock }: RedisRewinderOptions,
): Promise<Rewinder> {
  const keys = redisKeys({ prefix: config.key_prefix, job, recipe, groups: config.groups });
  const frontierKey = keys.entityPrefixes(frontierType)[keys.groupOf(frontierId)] + frontierId;
  const link = await connectRedis(config, { name: `weir-${job}-offsets`, slots: keys.slots, clock });

  async function ask(calls: readonly GroupCall[], doing: string): Promise<Reply[]> {
    link.demand(doing);
    const replies = await link.exchange(calls);
    const error = replies.find((reply) => reply instanceof Error);
    if (error instanceof Error && error.message.startsWith('TRYAGAIN')) throw slotsMove(link.address);
    if (error !== undefined) throw link.fault(error, doing);
    return replies;
  }

  /** The entities' keys of one slot group each, at most `callKeys` at once; a server is looked through once, whatever groups it has. */
  async function* entities(): AsyncGenerator<{ group: number; names: string[] }> {
    const waiting = new Map<number, string[]>();
    const places = link.places();
    for (const address of new Set(places)) {
      const group = places.indexOf(address);
      let cursor = '0';
      do {
        const scan = encodeCommand('SCAN', cursor, 'MATCH', keys.pattern, 'COUNT', String(scanKeys));
        const [answer] = await ask([{ group, bytes: scan }], 'looking through the state');
        const [next, names] = answer as readonly [Buffer, readonly Buffer[]];
        cursor = String(next);
        for (const name of names) {
          const full = put(waiting, String(name));
          if (full !== undefined) yield full;
        }
      } while (cursor !== '0');
    }
    for (const [group, names] of waiting) if (names.length > 0) yield { group, names };
    if (link.places().join() !== places.join()) throw slotsMove(link.address);
  }

  /** Gives the names of a group once there are enough for a call. */
  function put(waiting: Map<number, string[]>, name: string): { group: number; names: string[] } | undefined {
    const group = keys.groupOfEntity(name);
    if (group === undefined || name === frontierKey) return undefined;
    const names = waiting.get(group) ?? [];
    waiting.set(group, names);
    return names.push(name) === callKeys ? { group, names: names.splice(0) } : undefined;
  }

  async function through(limits: Limits, drops: boolean, demand: () => void): Promise<Map<string, number>> {
    const partitions = [...limits.keys()];
    const counts = new Map(partitions.map((partition) => [partition, 0]));
    const args = [limits.size, drops ? 1 : 0, ...[...limits].flat()].map(String);
    const doing = drops ? 'dropping state' : 'looking through the state';
    await link.loadScripts([rewindScript]).catch((error: unknown) => {
      throw link.fault(error, doing);
    });
    for await (const { group, names } of entities()) {
      demand();
      const all = [...partitions.map((partition) => keys.fence(group, partition)), ...names];
      const bytes = encodeCommand('EVALSHA', rewindScript.sha, String(all.length), ...all, ...args);
      const [found] = await ask([{ group, bytes }], doing);
      if (found === null) throw taken(link.address);
      for (const [index, partition] of partitions.entries())
        counts.set(partition, counts.get(partition)! + (found as number[])[index]);
    }
    return counts;
  }

  async function dropFences(limits: Limits): Promise<void> {
    const lifetime = String(fenceLifetimeMs / 1000);
    for (const partition of limits.keys()) {
      const calls = keys.slots.map((_, group) => ({
        group,
        bytes: encodeCommand('SET', keys.fence(group, partition), '-1', 'EX', lifetime),
      }));
      const ofFrontier = { group: keys.groupOf(frontierId), bytes: encodeCommand('HDEL', frontierKey, partition) };
      await ask([...calls, ofFrontier], 'dropping fences');
    }
  }

  return {
    async fences(partitions) {
      const found: (number | undefined)[] = [];
      for (const partition of partitions)
        found.push(lowestFence(readFences(await ask(fenceCalls(keys, partition), 'reading fences'))));
      return found;
    },
    countBeyond: (limits) => through(limits, false, () => {}),
    async eraseBeyond(limits, demand) {
      demand();
      await dropFences(limits);
      const dropped = new Map([...limits.keys()].map((partition) => [partition, 0]));
      // A key that goes from a node of a cluster to one that was looked through before is found the next time.
      for (let isAll = false; !isAll; ) {
        const counts = await through(limits, true, demand);
        for (const [partition, count] of counts) dropped.set(partition, dropped.get(partition)! + count);
        isAll = config.cluster === undefined || [...counts.values()].every((count) => count === 0);
      }
      return dropped;
    },
    async close() {
      link.close();
    },
  };
}

function taken(address: string): WeirError {
  return new WeirError(
    'STORE',
    `somebody stores state of the partitions in Redis at ${address} meanwhile: stop all processes of the job, and run the command again`,
  );
}

function slotsMove(address: string): WeirError {
  return new WeirError(
    'STORE',
    `slots of the Redis Cluster at ${address} move meanwhile, and with them keys that were not looked at: run the command again, best when they have moved`,
  );
}
