import { randomUUID } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';
import type { WeirError } from '../../runtime/errors.ts';
import { type LoadedEntity, lostState, type StateStore } from '../store.ts';
import { type CallWriter, createCallWriter, encodeCommand, type GroupCall, type Reply, replyBytes } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import { connectRedis, type RedisLink } from './connection.ts';
import { fenceCalls, lowestFence, readFences } from './fences.ts';
import { flushCallKeys, flushScript, planFlush, writeFlush } from './flush-calls.ts';
import { redisKeys } from './keys.ts';
import { loadScript, planLoad, readLoaded, readLoadedFences, writeLoad } from './load-calls.ts';

export interface RedisStoreOptions {
  readonly job: string;
  readonly recipe: string;
  /** How long an entity type's events are retained, milliseconds. */
  readonly retentionMs: (type: string) => number;
  readonly clock: Clock;
  readonly onCommand: (command: RedisCommand) => void;
  /** The connection is lost; undefined: it is back. */
  readonly onTrouble?: (error: WeirError | undefined) => void;
  /** No fault, but a person should know. */
  readonly onWarning?: (sentence: string) => void;
}

/** One round trip: commands sent in one write, and the wait for the last answer. */
export interface RedisCommand {
  readonly operation: 'load' | 'flush' | 'fence';
  readonly commands: number;
  /** Bytes of the commands, and of the answers' contents. */
  readonly bytesOut: number;
  readonly bytesIn: number;
}

/**
 * The state in a Redis server or a Redis Cluster. A load or a flush is one script call per slot group, all sent in one write per server,
 * but for that of a flush's last change, which comes after.
 * @throws WeirError STORE when the server cannot be reached, refuses, is too old or may evict. Later the methods reject with STORE;
 *   what they were to do may be repeated as it is.
 */
export async function createRedisStore(config: RedisStoreConfig, options: RedisStoreOptions): Promise<StateStore> {
  const { job, clock, onTrouble, onWarning } = options;
  const { slots } = redisKeys({ ...options, prefix: config.key_prefix, groups: config.groups });
  const connection = await connectRedis(config, { name: `weir-${job}`, slots, clock, onTrouble, onWarning });
  try {
    await loadScripts(connection, 'loading the scripts');
  } catch (error) {
    connection.close();
    throw error;
  }
  return storeOver(connection, config, { ...options, name: randomUUID(), callKeys: flushCallKeys });
}

export interface StoreOverOptions extends RedisStoreOptions {
  /** No other store ever has it. Without spaces. */
  readonly name: string;
  /** Most entities of one call of a flush. */
  readonly callKeys: number;
}

/** The store over a connection that knows the scripts; it is closed with the store. */
export function storeOver(
  connection: RedisLink,
  { groups, key_prefix }: Pick<RedisStoreConfig, 'groups' | 'key_prefix'>,
  options: StoreOverOptions,
): StateStore {
  const { job, recipe, clock, retentionMs, callKeys } = options;
  const keys = redisKeys({ prefix: key_prefix, job, recipe, groups });
  /** By partition, by group: the fence that the store has confirmed or shown; -1: none. Less than that later on means lost data. */
  const confirmed = new Map<string, Float64Array>();
  let flushes = 0;

  function confirmedOf(partition: string, unknown: number): Float64Array {
    let fences = confirmed.get(partition);
    if (!fences) {
      fences = new Float64Array(groups).fill(unknown);
      confirmed.set(partition, fences);
    }
    return fences;
  }

  /**
   * The watched partitions whose fence in the group is lower than it was known to be when the load was sent, or is not there; undefined for
   * none. Owners alone write fences, so what is lower has not been repaired yet.
   */
  function lostIn(group: number, fences: readonly number[], watched: readonly Watched[]): string[] | undefined {
    let lost: string[] | undefined;
    for (const [k, { partition, through, known }] of watched.entries()) {
      const now = confirmedOf(partition, 0);
      if (fences[k] >= Math.max(known[group], through)) now[group] = Math.max(now[group], fences[k]);
      else {
        lost ??= [];
        lost.push(partition);
      }
    }
    return lost;
  }

  /** Buffers that no call is using. */
  const writers: CallWriter[] = [];

  /** Writes calls, sends them, and answers once all have succeeded. */
  async function call(
    operation: 'load' | 'flush',
    slotGroups: readonly number[],
    write: (writer: CallWriter) => void,
  ): Promise<Reply[]> {
    const doing = operation === 'load' ? 'loading state' : 'storing state';
    connection.demand(doing);
    const writer = writers.pop() ?? createCallWriter();
    write(writer);
    const calls = writer.calls().map((bytes, index) => ({ group: slotGroups[index], bytes }));
    let replies = await roundTrip(operation, calls);
    if (replies.some(isScriptMissing)) {
      await loadScripts(connection, doing);
      connection.demand(doing);
      replies = await roundTrip(operation, calls);
    }
    const error = replies.find((reply) => reply instanceof Error);
    if (error !== undefined) throw connection.fault(error, doing);
    // After a fault the connection may still hold the buffer: it is not used again.
    writer.reset();
    writers.push(writer);
    return replies;
  }

  async function roundTrip(operation: RedisCommand['operation'], calls: readonly GroupCall[]): Promise<Reply[]> {
    const replies = await connection.exchange(calls);
    let bytesOut = 0;
    for (const { bytes } of calls) bytesOut += bytes.length;
    options.onCommand({ operation, commands: calls.length, bytesOut, bytesIn: replyBytes(replies) });
    return replies;
  }

  return {
    async load(requests, owned, watched = new Map()) {
      const answers: LoadedEntity[] = new Array(requests.length);
      const facts = { owned, watched, nowMs: clock.now() };
      for (const chunks of planLoad(requests, keys)) {
        const slotGroups = chunks.map((chunk) => keys.groupOf(requests[chunk[0]].id));
        const before = Array.from(watched, ([partition, through]) => {
          return { partition, through, known: confirmedOf(partition, 0).slice() };
        });
        const replies = await call('load', slotGroups, (writer) => {
          for (const chunk of chunks) writeLoad(writer, chunk, requests, facts, keys);
        });
        for (let k = 0; k < chunks.length; k++) {
          const lost = lostIn(slotGroups[k], readLoadedFences(replies[k]), before);
          readLoaded(replies[k], chunks[k], lost, answers);
        }
      }
      return answers;
    },

    async flush(partition, changes, fence) {
      const fences = confirmedOf(partition, -1);
      const name = `${options.name}.${++flushes}`;
      const facts = { partition, name, fence, confirmed: fences, nowMs: clock.now(), retentionMs };
      for (const chunks of planFlush(changes, keys, groups, callKeys)) {
        const slotGroups = chunks.map(({ group }) => group);
        const replies = await call('flush', slotGroups, (writer) => {
          for (const chunk of chunks) writeFlush(writer, chunk, changes, facts, keys);
        });
        if (replies.includes(0)) throw lostState(partition);
        for (const { group, isLast } of chunks) if (isLast) fences[group] = Math.max(fences[group], fence);
      }
    },

    async fence(partition) {
      const doing = `reading the fence of partition ${partition}`;
      connection.demand(doing);
      const replies = await roundTrip('fence', fenceCalls(keys, partition));
      const error = replies.find((reply) => reply instanceof Error);
      if (error !== undefined) throw connection.fault(error, doing);
      const fences = readFences(replies);
      confirmed.set(partition, fences);
      return lowestFence(fences);
    },

    async discard(partition, { type, id }) {
      const doing = `discarding a damaged state of partition ${partition}`;
      connection.demand(doing);
      const group = keys.groupOf(id);
      // The fence first: what is interrupted here is found damaged again.
      const replies = await connection.exchange([
        { group, bytes: encodeCommand('SET', keys.fence(group, partition), '-1') },
        { group, bytes: encodeCommand('HDEL', `${keys.entityPrefixes(type)[group]}${id}`, partition) },
      ]);
      const error = replies.find((reply) => reply instanceof Error);
      if (error !== undefined) throw connection.fault(error, doing);
    },

    async close() {
      connection.close();
    },
  };
}

/** A watched partition when a load is sent. */
interface Watched {
  readonly partition: string;
  /** The least that its fences are to be, as the caller knows. */
  readonly through: number;
  /** By group: what this store knows its fence to be. */
  readonly known: Float64Array;
}

async function loadScripts(connection: RedisLink, doing: string): Promise<void> {
  await connection.loadScripts([loadScript, flushScript]).catch((error: unknown) => {
    throw connection.fault(error, doing);
  });
}

function isScriptMissing(reply: Reply): boolean {
  return reply instanceof Error && reply.message.startsWith('NOSCRIPT');
}
