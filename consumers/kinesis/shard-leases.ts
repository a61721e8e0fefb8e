import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { isInitial, isShardEnd, shardEnd } from './checkpoint.ts';
import type { HashRange } from './hash-range.ts';
import type { HeldLease } from './held-lease.ts';
import type { HeldLeases } from './held-leases.ts';
import { type Lease, newLease } from './lease.ts';
import type { LeaseTable } from './lease-table.ts';
import type { LeaseView } from './lease-view.ts';
import type { LeaseWrites } from './lease-writes.ts';
import { createShardMemory, type ShardMemory } from './shard-memory.ts';
import {
  firstLeases,
  type InitialPosition,
  isFinished,
  isReady,
  missingLeases,
  type Shard,
  wasRead,
} from './shards.ts';

/** What the stream says of its shards. */
export interface ShardList {
  /** Those of the stream: all that still have records, or only those that stand at the initial position. */
  list(which: 'all' | 'initial'): Promise<Shard[]>;
  /** True when the stream has no such shard any more. Asked before a shard that is not listed is given up: a list may be incomplete. */
  isGone(id: string): Promise<boolean>;
}

export interface ShardLeasesParts {
  readonly table: LeaseTable;
  readonly writes: LeaseWrites;
  readonly held: HeldLeases;
  readonly shards: ShardList;
  readonly initial: InitialPosition;
  readonly clock: Clock;
  /** A shard, which has the hash keys of the range, may be read from its lease's checkpoint on, until the lease is revoked. */
  readonly onReady: (held: HeldLease, hashRange: HashRange) => void;
}

/** Leases as their shards come and go: made when they are to be read, begun after their parents' end, deleted once they have served their turn. */
export interface ShardLeases {
  /** The stream's shards, as of the last time that they were compared with the leases. */
  readonly listed: readonly Shard[];
  /** When that was. */
  readonly syncedAt: number;
  readonly memory: ShardMemory;
  /** True where a look that may be old shows a shard's end, which is news, without the leases of what is to be read from then on. */
  hidesWhatFollows(leases: readonly Lease[]): boolean;
  /**
   * Gives every shard that should be read a lease; true when some were missing. Creating one that somebody else has created meanwhile
   * changes nothing.
   * @throws WeirError INPUT when the table is not one that can be shared any more.
   */
  sync(leases: readonly Lease[]): Promise<boolean>;
  /** @param leases from before the stream was asked for its shards: one that is made later may be of a shard that is newer than the list. */
  dropGone(leases: readonly Lease[]): Promise<void>;
  /** Begins what of the leases held here may be read by now, and tidies away what is done with. */
  startOrFinish(view: LeaseView): Promise<void>;
  /** True while somebody here reads the shard, or was told to. */
  isRead(one: HeldLease): boolean;
  /** The shard was read to its end: those that follow get their leases, parents before children. */
  end(held: HeldLease, children: readonly Shard[]): Promise<void>;
}

interface TableAndStream {
  readonly leases: readonly Lease[];
  readonly stream: readonly Shard[];
}

export function createShardLeases(parts: ShardLeasesParts): ShardLeases {
  const { table, writes, held, shards, initial } = parts;
  const memory = createShardMemory();
  const started = new WeakSet<HeldLease>();
  let listed: readonly Shard[] = [];
  let syncedAt = Number.NEGATIVE_INFINITY;

  async function sync(leases: readonly Lease[]): Promise<boolean> {
    await table.demandShareable();
    listed = await shards.list('all');
    memory.listed(listed);
    const missing =
      leases.length === 0 ? firstLeases(await shards.list('initial'), initial) : await trulyMissing(leases);
    for (const lease of missing) await writes.make({ kind: 'create', lease });
    syncedAt = parts.clock.monotonic();
    return missing.length > 0;
  }

  /** A look may be older than a lease: what is missing in it is asked for again, or its ancestors would be read once more. */
  async function trulyMissing(leases: readonly Lease[]): Promise<Lease[]> {
    const missing = missingLeases(listed, leases, initial);
    const found = await Promise.all(missing.map(({ key }) => table.read(key)));
    const present = found.filter((lease) => lease !== undefined);
    return present.length === 0 ? missing : missingLeases(listed, [...leases, ...present], initial);
  }

  async function startOrFinishOne(one: HeldLease, view: LeaseView, now: () => Promise<TableAndStream>): Promise<void> {
    const find = (key: string) => view.get(key)?.lease;
    if (isShardEnd(one.lease.checkpoint)) return finish(one, find);
    if (started.has(one) || !isReady(one.lease, find) || !(await parentsAreGone(one.lease, view))) return;
    if (await isMadeAnew(one.lease, now)) return held.drop(one, 'deleted');
    if (one.revoked.aborted || one.recalled.aborted || started.has(one)) return;
    const { key, hashRange = listed.find(({ id }) => id === key)?.hashRange } = one.lease;
    // Old versions of the library write none. Until the stream has told it, nobody knows what of an aggregated record is the shard's.
    if (hashRange === undefined) return;
    started.add(one);
    parts.onReady(one, hashRange);
  }

  /**
   * A request to make a lease may have been under way, or its sender may have stood still, until the shard was read to its end and its lease
   * deleted: reading it once more would publish all of it again. A lease that has been read from is not in question.
   * @param now both younger than the lease: from before they need not show what followed.
   */
  async function isMadeAnew(
    { key, checkpoint, positions }: Lease,
    now: () => Promise<TableAndStream>,
  ): Promise<boolean> {
    if (!isInitial(checkpoint) || positions !== undefined) return false;
    const { leases, stream } = await now();
    return wasRead(key, stream, leases);
  }

  async function tableAndStream(): Promise<TableAndStream> {
    const [leases, stream] = await Promise.all([
      table.list(true),
      // While the stream does not answer, what it last said has to do.
      shards.list('all').catch((error: unknown) => {
        if (!isPassing(error)) throw error;
        return listed;
      }),
    ]);
    return { leases, stream };
  }

  /** A look may be older than the parents' leases: that one is missing in it must be asked for again before it counts. */
  async function parentsAreGone({ parents }: Lease, view: LeaseView): Promise<boolean> {
    const missing = parents.filter((key) => !view.has(key));
    const found = await Promise.all(missing.map((key) => table.read(key)));
    return found.every((lease) => lease === undefined || isShardEnd(lease.checkpoint));
  }

  async function dropIfGone(one: HeldLease): Promise<void> {
    if (!(await shards.isGone(one.lease.key))) return;
    await createChildren(listed.filter(({ parents }) => parents.includes(one.lease.key)));
    await held.drop(one, 'gone');
  }

  async function createChildren(children: readonly Shard[]): Promise<void> {
    for (const { id, parents, hashRange } of children) {
      const lease = newLease(id, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, hashRange);
      await writes.make({ kind: 'create', lease });
    }
  }

  /** Deletes the lease once nobody needs it any more. One that nobody noted the children of is completed first. */
  async function finish(one: HeldLease, find: (key: string) => Lease | undefined): Promise<void> {
    const { lease } = one;
    if (lease.children.length === 0) {
      const children = listed.filter(({ parents }) => parents.includes(lease.key)).map(({ id }) => id);
      if (children.length > 0) return one.make({ kind: 'children', children }).catch(held.fencedIsLost(one));
    }
    if (isFinished(lease, find) || (await isLeftOver(lease, find))) await held.drop(one, 'deleted');
  }

  /**
   * The stream has no more what would have to come first: the shard itself, where no lease is left that could wait for it, or those that followed
   * it and whose leases went with them, unread, while the others are being read.
   */
  async function isLeftOver(
    { key, parents, children }: Lease,
    find: (key: string) => Lease | undefined,
  ): Promise<boolean> {
    if (listed.length === 0) return false;
    const missing = children.filter((child) => find(child) === undefined);
    if (missing.length === children.length) return isPast(key);
    const isAwaited = (child: string) => isInitial(find(child)!.checkpoint);
    const isInUse = children.some((child) => !missing.includes(child) && isAwaited(child));
    if (isInUse || missing.length === 0 || parents.some((parent) => find(parent) !== undefined)) return false;
    return (await Promise.all(missing.map(isPast))).every(Boolean);
  }

  /** The list may be older than the shard. */
  async function isPast(key: string): Promise<boolean> {
    return !listed.some(({ id }) => id === key) && shards.isGone(key);
  }

  return {
    get listed() {
      return listed;
    },
    get syncedAt() {
      return syncedAt;
    },
    memory,
    /** Each lease may be shown as it was at another time. */
    hidesWhatFollows(leases) {
      const keys = new Set(leases.map(({ key }) => key));
      const ended = leases.filter(({ key, checkpoint }) => isShardEnd(checkpoint) && !memory.isDone(key));
      return ended.some(({ children }) => children.some((child) => !keys.has(child)));
    },
    sync,
    /**
     * Retention has deleted shards that were not read to their end: those that followed go on without. Their parent's lease is deleted, as the
     * library does: a shard without it begins where its own log does, as one whose past is not known.
     */
    async dropGone(leases) {
      const isListed = (key: string) => listed.some(({ id }) => id === key);
      const missing = held
        .all()
        .filter(
          ({ lease }) =>
            !isShardEnd(lease.checkpoint) && !isListed(lease.key) && leases.some(({ key }) => key === lease.key),
        );
      if (listed.length > 0) await Promise.all(missing.map(dropIfGone));
    },
    async startOrFinish(view) {
      const now = once(tableAndStream);
      await Promise.all(held.all().map((one) => startOrFinishOne(one, view, now)));
    },
    isRead: (one) => started.has(one) && !isShardEnd(one.lease.checkpoint),
    async end(one, children) {
      const known = await table.list();
      const hasLease = (key: string) => known.some((lease) => lease.key === key) || key === one.lease.key;
      // A merged shard's other parent that has no lease yet would be left out if the child had one first.
      if (children.some(({ parents }) => !parents.every(hasLease))) await sync(known);
      await createChildren(children);
      if (children.length > 0) await one.make({ kind: 'children', children: children.map(({ id }) => id) });
      await one.make({ kind: 'checkpoint', checkpoint: shardEnd });
    },
  };
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined;
  return () => {
    asked ??= ask();
    return asked;
  };
}

/** It ends by itself: the table or the stream does not answer. */
export function isPassing(error: unknown): boolean {
  return error instanceof WeirError && error.code === 'BROKER';
}
