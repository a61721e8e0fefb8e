import { WeirError } from '../../runtime/errors.ts';
import { isInitial, isShardEnd, trimHorizon } from './checkpoint.ts';
import type { HashRange } from './hash-range.ts';
import { type Lease, newLease } from './lease.ts';

/** A shard as the stream tells of it. */
export interface Shard {
  readonly id: string;
  /** The shards that it came from: one after a split, two after a merge. They may have left the stream since. */
  readonly parents: readonly string[];
  readonly hashRange: HashRange;
  readonly isOpen: boolean;
}

/** "shardId-000000000012" is 12. @throws WeirError INPUT for an id of another kind. */
export function shardNumber(id: string): number {
  const number = /^shardId-(\d{1,15})$/.exec(id)?.[1];
  if (number === undefined) throw new WeirError('INPUT', `the shard id ${id} is of a kind that is not known`);
  return Number(number);
}

/** Where a shard begins that nobody has read yet. */
export type InitialPosition = 'TRIM_HORIZON' | 'LATEST' | 'AT_TIMESTAMP';

/** A table's first leases: of the shards at the initial position. Those that came from them follow when they end. */
export function firstLeases(shards: readonly Shard[], initial: InitialPosition): Lease[] {
  return shards.map(({ id, parents, hashRange }) => newLease(id, { sequence: initial, sub: 0 }, parents, hashRange));
}

/**
 * Leases that are missing, parents before children: of the open shards, and of those between them and a shard that has a lease. What
 * descends from a shard with a lease begins at its oldest record, so that nothing is left out; any other at the initial position.
 */
export function missingLeases(shards: readonly Shard[], leases: readonly Lease[], initial: InitialPosition): Lease[] {
  const byId = new Map(shards.map((shard) => [shard.id, shard]));
  const leased = new Set(leases.map(({ key }) => key));
  const descends = new Map<string, boolean>();
  const missing = new Map<string, Lease>();

  const add = ({ id, parents, hashRange }: Shard, isDescendant: boolean) => {
    const sequence = isDescendant && initial !== 'AT_TIMESTAMP' ? trimHorizon.sequence : initial;
    if (!leased.has(id) && !missing.has(id)) {
      missing.set(id, newLease(id, { sequence, sub: 0 }, parents, hashRange));
    }
  };
  /** Whether the shard is read from a lease on, its own or an ancestor's; if so its ancestors' missing leases are added. */
  const visit = (shard: Shard): boolean => {
    const known = descends.get(shard.id);
    if (known !== undefined) return known;
    let isDescendant = leased.has(shard.id);
    if (!isDescendant) {
      const parents = shard.parents.flatMap((id) => byId.get(id) ?? []);
      const descendants = parents.filter(visit);
      if (descendants.length > 0) for (const parent of parents) add(parent, descendants.includes(parent));
      // A shard may have left the stream before it was read to its end, with its lease still there.
      const follows = descendants.length > 0 || shard.parents.some((id) => leased.has(id));
      isDescendant = follows || initial !== 'LATEST';
    }
    descends.set(shard.id, isDescendant);
    return isDescendant;
  };
  for (const shard of shards) if (shard.isOpen && !leased.has(shard.id)) add(shard, visit(shard));
  return [...missing.values()];
}

/** True once a shard may be read: all of its parents are done with, or so long ago that their leases are gone. */
export function isReady(lease: Lease, parent: (key: string) => Lease | undefined): boolean {
  return lease.parents.every((key) => {
    const found = parent(key);
    return found === undefined || isShardEnd(found.checkpoint);
  });
}

/** True when a lease has served its turn: its shard is done with, its own parents' leases are gone, and every child is being read. */
export function isFinished(lease: Lease, find: (key: string) => Lease | undefined): boolean {
  if (!isShardEnd(lease.checkpoint) || lease.children.length === 0) return false;
  if (lease.parents.some((key) => find(key) !== undefined)) return false;
  return lease.children.every((key) => {
    const child = find(key);
    return child !== undefined && !isInitial(child.checkpoint);
  });
}

/** True when some descendant of the shard has been read from, which happens only once the shard itself was read to its end. */
export function wasRead(id: string, shards: readonly Shard[], leases: readonly Lease[]): boolean {
  const read = new Set(leases.filter(({ checkpoint }) => !isInitial(checkpoint)).map(({ key }) => key));
  const descendants = new Set([id]);
  // A set goes on with what is added on the way, and once: by splits and merges a shard is reached in ever more ways.
  for (const parent of descendants) {
    for (const { id: child, parents } of shards) {
      if (!parents.includes(parent)) continue;
      if (read.has(child)) return true;
      descendants.add(child);
    }
  }
  return false;
}
