import type { Clock } from '../../runtime/clock.ts';
import { byPartition, type InspectedSubState, type StoreReader } from '../store-reader.ts';
import { encodeCommand, type GroupCall, type Reply, subStateHeader } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis } from './connection.ts';
import { fenceCalls, lowestFence, readFences } from './fences.ts';
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
  const link = await connectRedis(config, { name: `weir-${job}-inspect`, slots: keys.slots, clock });

  const ask = (group: number, commands: readonly (readonly string[])[], doing: string) =>
    send(
      commands.map((words) => ({ group, bytes: encodeCommand(...words) })),
      doing,
    );

  async function send(calls: readonly GroupCall[], doing: string): Promise<Reply[]> {
    link.demand(doing);
    const replies = await link.exchange(calls);
    const error = replies.find((reply) => reply instanceof Error);
    if (error !== undefined) throw link.fault(error, doing);
    return replies;
  }

  return {
    async read(type, id) {
      const group = keys.groupOf(id);
      const doing = `reading the ${type} ${id}`;
      const now = clock.now() / 1000;
      const [answer] = await ask(group, [['HGETALL', keys.entityPrefixes(type)[group] + id]], doing);
      const stored = fieldsOf(answer).filter(([name, value]) => name !== 'v' && value.readUInt32BE(8) > now);
      const fences = await ask(
        group,
        stored.map(([partition]) => ['GET', keys.fence(group, partition)]),
        doing,
      );
      return byPartition(
        stored.map(
          ([partition, value], index): InspectedSubState => ({
            partition,
            offset: value.readDoubleBE(0),
            fence: fences[index] === null ? undefined : Number(String(fences[index])),
            bytes: value.subarray(subStateHeader),
          }),
        ),
      );
    },
    async fences(partitions) {
      const found: (number | undefined)[] = [];
      for (const partition of partitions)
        found.push(lowestFence(readFences(await send(fenceCalls(keys, partition), 'reading fences'))));
      return found;
    },
    async close() {
      link.close();
    },
  };
}

/** Names and values, which a hash is answered as in turn. */
function fieldsOf(reply: Reply): [string, Buffer][] {
  const parts = reply as readonly Buffer[];
  return Array.from({ length: parts.length / 2 }, (_, index) => [String(parts[2 * index]), parts[2 * index + 1]]);
}
