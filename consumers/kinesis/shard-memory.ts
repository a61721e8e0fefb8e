import { isShardEnd } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import { isReady, type Shard } from './shards.ts';

/**
 * What this process knows of shards, as of the last answers of stream and table; and what it has once seen and never changes: which they came from,
 * and that they were read to their end. Leases are deleted, shards leave the stream, and an answer of the table may be older than the one before it.
 * What follows from an answer is worked out once: it is asked for with every batch.
 */
export interface ShardMemory {
  listed(shards: readonly Shard[]): void;
  leased(leases: readonly Lease[]): void;
  /** Ids of all shards of the last answers. The same object until the next ones. */
  known(): readonly string[];
  /** Ids of the shards that have something left to be read, and whose parents have not. The same object until the table's next answer. */
  readable(): readonly string[];
  /** Ids of the shards that the shard came from, however far back, as far as that is known. */
  ancestors(id: string): string[];
  /** True once the shard was read to its end. */
  isDone(id: string): boolean;
}

export function createShardMemory(): ShardMemory {
  const parentsOf = new Map<string, readonly string[]>();
  const done = new Set<string>();
  let inStream: readonly string[] = [];
  let inTable: readonly string[] = [];
  let known: readonly string[] = [];
  let readable: readonly string[] = [];

  function remember(id: string, parents: readonly string[]): void {
    if (parents.length > 0) parentsOf.set(id, parents);
  }

  return {
    listed(shards) {
      for (const { id, parents } of shards) remember(id, parents);
      inStream = shards.map(({ id }) => id);
      known = [...new Set([...inTable, ...inStream])];
    },
    leased(leases) {
      for (const { key, parents, checkpoint } of leases) {
        remember(key, parents);
        if (isShardEnd(checkpoint)) done.add(key);
      }
      inTable = leases.map(({ key }) => key);
      known = [...new Set([...inTable, ...inStream])];
      const left = new Map(leases.filter(({ key }) => !done.has(key)).map((lease) => [lease.key, lease]));
      readable = [...left.values()].filter((lease) => isReady(lease, (key) => left.get(key))).map(({ key }) => key);
    },
    known: () => known,
    readable: () => readable,
    ancestors(id) {
      const found = new Set<string>();
      // A set goes on with what is added on the way.
      const add = (key: string) => {
        for (const parent of parentsOf.get(key) ?? []) found.add(parent);
      };
      add(id);
      for (const key of found) add(key);
      return [...found];
    },
    isDone: (id) => done.has(id),
  };
}
