import { isInitial, isShardEnd } from './checkpoint.ts';
import type { Lease } from './lease.ts';
import { isFree, type SeenLease } from './lease-view.ts';
import { type Anchor, anchorBefore, readPositions, standingOf } from './positions.ts';
import { isReady, type Shard } from './shards.ts';

/** Where one shard stands, as the stream and the lease table have it together. */
export interface ShardStanding {
  readonly shard: string;
  readonly state: ShardState;
  readonly parents: readonly string[];
  readonly children: readonly string[];
  /** Undefined where there is none. */
  readonly seen: SeenLease | undefined;
}

export type ShardState =
  /** Takes records, and may be read. */
  | 'open'
  /** Split or merged, and not yet read to its end. */
  | 'draining'
  /** May not be read before its parents are read to their end. */
  | 'waiting'
  /** Read to its end; its lease stays until every child is being read. */
  | 'finished'
  /** Is to be read and has no lease yet. */
  | 'missing'
  /** Closed, without a lease: read long ago, or from before the job's start. */
  | 'past'
  /** No more in the stream although it was not read to its end. */
  | 'gone';

/** All states, those first that need somebody to read. */
export const shardStates = ['open', 'draining', 'waiting', 'finished', 'missing', 'past', 'gone'] as const;

/**
 * All shards that the stream or the table knows, by id.
 * @param due ids of those that should have a lease and have none.
 */
export function shardStandings(
  listed: readonly Shard[],
  view: ReadonlyMap<string, SeenLease>,
  due: ReadonlySet<string>,
): ShardStanding[] {
  const byId = new Map(listed.map((shard) => [shard.id, shard]));
  const find = (key: string) => view.get(key)?.lease;
  const children = new Map<string, string[]>();
  for (const { id, parents } of listed) {
    for (const parent of parents) children.set(parent, [...(children.get(parent) ?? []), id]);
  }

  function stateOf(shard: Shard | undefined, lease: Lease | undefined): ShardState {
    if (lease === undefined) return due.has(shard!.id) ? 'missing' : 'past';
    if (isShardEnd(lease.checkpoint)) return 'finished';
    if (shard === undefined) return 'gone';
    if (!isReady(lease, find)) return 'waiting';
    return shard.isOpen ? 'open' : 'draining';
  }

  return [...new Set([...byId.keys(), ...view.keys()])].sort().map((id) => {
    const shard = byId.get(id);
    const seen = view.get(id);
    return {
      shard: id,
      state: stateOf(shard, seen?.lease),
      parents: shard?.parents ?? seen!.lease.parents,
      children: [...new Set([...(children.get(id) ?? []), ...(seen?.lease.children ?? [])])].sort(),
      seen,
    };
  });
}

/** Whether somebody has to have the shard's lease: there is something left to be read, now or later. */
export function isWanted(state: ShardState): boolean {
  return state === 'open' || state === 'draining' || state === 'waiting';
}

export type LeaseHolding =
  /** Its owner was heard of while it was watched. */
  | 'held'
  /** It has an owner, who has not been silent for so long that the others would take it. */
  | 'owned'
  /** Its owner was silent for the failover time. */
  | 'expired'
  /** Nobody has it. */
  | 'free';

/**
 * @param firstLookAt monotonic time of the first look at the table.
 * @param now when the latest look was asked for.
 */
export function holdingOf(seen: SeenLease, firstLookAt: number, now: number, failoverMs: number): LeaseHolding {
  if (seen.lease.owner === undefined) return 'free';
  if (isFree(seen, now, failoverMs)) return 'expired';
  return seen.since > firstLookAt ? 'held' : 'owned';
}

export interface LeasePosition {
  /** The pipeline's number of the position; undefined where nothing was read yet, all was, or another consumer has moved the checkpoint. */
  readonly position: number | undefined;
  readonly isMoved: boolean;
  /** The newest place up to the checkpoint through which the state store has confirmed state, or where counting began. */
  readonly fenceAnchor: Anchor | undefined;
}

/** @throws WeirError INPUT for what weir has not written into the lease. */
export function positionOf({ key, checkpoint, positions = {} }: Lease): LeasePosition {
  const kept = readPositions(positions, key);
  const isWithin = !isInitial(checkpoint) && !isShardEnd(checkpoint);
  const standing = isWithin ? standingOf(checkpoint, kept, () => Number.NaN) : undefined;
  return {
    position: standing?.kind === 'known' ? standing.position : undefined,
    isMoved: standing?.kind === 'moved',
    fenceAnchor: isWithin ? anchorBefore(kept.anchors, checkpoint.sequence) : kept.anchors.at(-1),
  };
}
