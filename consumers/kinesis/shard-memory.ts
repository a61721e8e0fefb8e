import { isShardEnd } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import type { Shard } from './shards.ts';

/**
 * What this process has once seen of shards and never changes: which they came from, and that they were read to their end. Leases are deleted,
 * shards leave the stream, and an answer of the table may be older than the one before it.
 */
export interface ShardMemory {
  listed(shards: readonly Shard[]): void;
  leased(leases: readonly Lease[]): void;
  /** Ids of the shards that the shard came from, however far back, as far as that is known. */
  ancestors(id: string): string[];
  /** True once the shard was read to its end. */
  isDone(id: string): boolean;
}

export function createShardMemory(): ShardMemory {
  const parentsOf = new Map<string, readonly string[]>();
  const done = new Set<string>();

  function remember(id: string, parents: readonly string[]): void {
    if (parents.length > 0) parentsOf.set(id, parents);
  }

  return {
    listed(shards) {
      for (const { id, parents } of shards) remember(id, parents);
    },
    leased(leases) {
      for (const { key, parents, checkpoint } of leases) {
        remember(key, parents);
        if (isShardEnd(checkpoint)) done.add(key);
      }
    },
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
