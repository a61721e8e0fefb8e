import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Random } from '../../runtime/random.ts';
import { leasesToTake, leaseToEvenOut } from './balance.ts';
import { isInitial, isShardEnd, shardEnd } from './checkpoint.ts';
import type { HashRange } from './hash-range.ts';
import { type HeldLease, holdLease } from './held-lease.ts';
import { type Lease, newLease } from './lease.ts';
import type { LeaseTable } from './lease-table.ts';
import { isFree, type LeaseView, leasesByWorker, look, nextChange } from './lease-view.ts';
import { leaseWrites } from './lease-writes.ts';
import { createShardMemory } from './shard-memory.ts';
import { isWanted, type ShardState, shardStandings, shardStates } from './shard-standing.ts';
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

export interface LeaseCoordinatorParts {
  readonly table: LeaseTable;
  readonly shards: ShardList;
  /** This process's name in the table; no two may have the same. */
  readonly worker: string;
  readonly failoverMs: number;
  readonly shardSyncMs: number;
  readonly maxLeases: number;
  /** Least time between two checkpoints of a lease. */
  readonly checkpointMs: number;
  readonly initial: InitialPosition;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when this worker is about to leave: it takes no more leases, since those that it gives up are for others. */
  readonly leaving: AbortSignal;
  /** A shard, which has the hash keys of the range, may be read from its lease's checkpoint on, until the lease is revoked. */
  readonly onReady: (held: HeldLease, hashRange: HashRange) => void;
  readonly onEvent?: (event: LeaseEvent) => void;
  /** The table has answered, and what it says was acted on: told what it says. */
  readonly onLook?: (look: LeaseLook) => void;
}

/** How the leases are shared out, as of the last look at the table. */
export interface LeaseLook {
  readonly shards: Readonly<Record<ShardState, number>>;
  /** Leases by who has them: this worker, another living one, or nobody although the shard is to be read. */
  readonly leases: Readonly<Record<'self' | 'other' | 'none', number>>;
}

export type LeaseEvent =
  /** `taken` was nobody's, `expired` a silent worker's, `stolen` a living one's. `lost`: to another worker, or by own silence. */
  | {
      /** `gone`: the shard left the stream before it was read to its end; what was left in it is lost. */
      readonly kind: 'taken' | 'expired' | 'stolen' | 'lost' | 'evicted' | 'ended' | 'deleted' | 'gone';
      readonly lease: Lease;
    }
  /** The table or the stream did not answer; tried again. */
  | { readonly kind: 'trouble'; readonly error: unknown };

export interface LeaseCoordinator {
  /** Shares the leases with the other workers until the signal aborts; then gives its own up, so that others need not wait. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * A shard is done with: those that follow get their leases, parents before children, and this worker its share of them before the
   * answer.
   */
  end(held: HeldLease, children: readonly Shard[]): Promise<void>;
  /** There is word of leases that were given up: looks at the table now. */
  lookNow(): void;
  /** Gives a lease up, so that others need not wait. */
  release(held: HeldLease): Promise<void>;
  /** Ids of all shards that the stream or the table is known to have. The same object until the next answer of one of them. */
  known(): readonly string[];
  /** Ids of the shards that have something left to be read, and whose parents have not. The same object until the next look. */
  readable(): readonly string[];
  /** Ids of the shards that the shard came from, however far back, as far as the stream or the table has told this process. */
  ancestors(id: string): string[];
  /** True where the stream has told that it takes no more records. */
  isClosed(id: string): boolean;
}

const noShards = Object.fromEntries(shardStates.map((state) => [state, 0])) as Record<ShardState, number>;

/** Renewals in parts of the failover time: two attempts before a lease expires, as with the library's third. */
const renewalShare = 0.4;
/** A look at the whole table, for a fleet of up to so many workers; a larger one looks the less often each. */
const lookShare = 0.4;
const workersPerLook = 10;
const longestLookShare = 2;
/** After a look that failed, doubling up to `lookShare`. */
const firstRetryShare = 0.05;
/** What goes through a shard is measured over so many parts of the failover time. */
const throughputShare = 6;
/** So long a worker that has taken a lease to even out what goes through them waits with the next: all is then measured anew. */
const eveningShare = 3 * throughputShare;

export function createLeaseCoordinator(parts: LeaseCoordinatorParts): LeaseCoordinator {
  const { table, shards, worker, failoverMs, initial, clock, random } = parts;
  const writes = leaseWrites(table, worker, failoverMs, clock);
  const held = new Map<string, HeldLease>();
  const started = new WeakSet<HeldLease>();
  const onEvent = parts.onEvent ?? (() => {});
  const memory = createShardMemory();
  let view: LeaseView = new Map();
  /** When what it shows was asked for. */
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** When this worker last went for a lease. */
  let changedAt = clock.monotonic();
  /** The stream's shards, as of the last time that they were compared with the leases. */
  let listed: readonly Shard[] = [];
  let syncedAt = Number.NEGATIVE_INFINITY;
  /** Ends the wait for the next look. */
  let hurry = () => {};
  /** Those who wait for a look that begins after they asked. */
  let waiting: (() => void)[] = [];
  let isRunning = true;
  /** Another worker was faster with a lease that this one went for: there may be others. */
  let isBeaten = false;
  /** Aborts, with the error, when the leases cannot be kept any more. */
  const failed = new AbortController();

  function letGo(one: HeldLease, kind: 'lost' | 'evicted' | 'deleted' | 'gone'): void {
    one.lose();
    if (held.get(one.lease.key) !== one) return;
    held.delete(one.lease.key);
    onEvent({ kind, lease: one.lease });
  }

  /**
   * One look at the table, and what follows from it.
   * @param isCurrent for one who knows that something has just changed.
   */
  async function lookAround(isCurrent: boolean): Promise<void> {
    let askedAt = clock.monotonic();
    isBeaten = false;
    let leases = await table.list(isCurrent);
    if (!isCurrent && hidesWhatFollows(leases)) {
      askedAt = clock.monotonic();
      leases = await table.list(true);
    }
    let syncFault: unknown;
    const isDue = askedAt - syncedAt >= parts.shardSyncMs;
    if (isDue) {
      // The leases that there are have to be shared also while the stream cannot be asked for its shards.
      const hasNew = await sync(leases).catch((error: unknown) => {
        if (!isPassing(error)) throw error;
        syncFault = error;
        return false;
      });
      if (hasNew) {
        askedAt = clock.monotonic();
        leases = await table.list(true);
      }
    }
    view = look(view, leases, clock.monotonic());
    memory.leased(leases);
    lookedAt = askedAt;
    noticeLosses();
    if (isDue && syncFault === undefined) await dropGone(leases);
    // One of its own that it has let go of, while the table did not answer, has nobody else who works on it.
    const dropped = leases.filter(({ owner }) => owner === worker);
    const wanted = new Map([...dropped, ...leasesWanted(askedAt)].map((lease) => [lease.key, lease]));
    if (!parts.leaving.aborted) await Promise.all([...wanted.values()].filter(({ key }) => !held.has(key)).map(take));
    const now = once(tableAndStream);
    await Promise.all([...held.values()].map((one) => startOrFinish(one, now)));
    parts.onLook?.(lookOf(leases, askedAt));
    if (syncFault !== undefined) trouble(syncFault);
  }

  /** Each lease may be shown as it was at another time: a shard's end, which is news, without the leases of what is to be read from then on. */
  function hidesWhatFollows(leases: readonly Lease[]): boolean {
    const keys = new Set(leases.map(({ key }) => key));
    const ended = leases.filter(({ key, checkpoint }) => isShardEnd(checkpoint) && !memory.isDone(key));
    return ended.some(({ children }) => children.some((child) => !keys.has(child)));
  }

  function lookOf(leases: readonly Lease[], askedAt: number): LeaseLook {
    const due = missingLeases(listed, leases, initial).map(({ key }) => key);
    const shards = { ...noShards };
    const by = { self: held.size, other: 0, none: 0 };
    for (const { state, seen } of shardStandings(listed, view, new Set(due))) {
      shards[state]++;
      if (seen === undefined || held.has(seen.lease.key)) continue;
      if (!isFree(seen, askedAt, failoverMs)) by.other++;
      else if (isWanted(state)) by.none++;
    }
    return { shards, leases: by };
  }

  function leasesWanted(now: number): Lease[] {
    const options = { worker, failoverMs, maxLeases: parts.maxLeases, random };
    const wanted = leasesToTake(view, now, options);
    if (wanted.length > 0) changedAt = now;
    if (wanted.length > 0 || now - changedAt < eveningShare * failoverMs) return wanted;
    const evening = leaseToEvenOut(view, now, options);
    if (evening === undefined) return [];
    changedAt = now;
    return [evening];
  }

  /** What the table says of a lease held here counts once it is newer than what is known of it. */
  function noticeLosses(): void {
    for (const one of held.values()) {
      const seen = view.get(one.lease.key)?.lease;
      if (seen !== undefined && seen.owner !== worker && seen.counter > one.lease.counter) letGo(one, 'lost');
    }
  }

  async function take(lease: Lease): Promise<void> {
    const sentAt = clock.monotonic();
    const taken = await writes.make({ kind: 'take', lease, owner: worker });
    if (taken === undefined) {
      isBeaten = true;
      return;
    }
    const throughputWindowMs = throughputShare * failoverMs;
    held.set(
      lease.key,
      holdLease(taken, sentAt, { writes, clock, checkpointMs: parts.checkpointMs, throughputWindowMs }),
    );
    const since = view.get(lease.key)?.since ?? sentAt;
    const hadOwner = lease.owner !== undefined && lease.owner !== worker;
    onEvent({ kind: !hadOwner ? 'taken' : sentAt - since < failoverMs ? 'stolen' : 'expired', lease: taken });
  }

  async function startOrFinish(one: HeldLease, now: () => Promise<TableAndStream>): Promise<void> {
    const find = (key: string) => view.get(key)?.lease;
    if (isShardEnd(one.lease.checkpoint)) return finish(one, find);
    if (started.has(one) || !isReady(one.lease, find) || !(await parentsAreGone(one.lease))) return;
    if (await isMadeAnew(one.lease, now)) return drop(one, 'deleted');
    if (one.revoked.aborted || started.has(one)) return;
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
  async function parentsAreGone({ parents }: Lease): Promise<boolean> {
    const missing = parents.filter((key) => !view.has(key));
    const found = await Promise.all(missing.map((key) => table.read(key)));
    return found.every((lease) => lease === undefined || isShardEnd(lease.checkpoint));
  }

  /**
   * Retention has deleted shards that were not read to their end: those that followed go on without. Their parent's lease is deleted, as the
   * library does: a shard without it begins where its own log does, as one whose past is not known.
   * @param leases from before the stream was asked for its shards: one that is made later may be of a shard that is newer than the list.
   */
  async function dropGone(leases: readonly Lease[]): Promise<void> {
    const isListed = (key: string) => listed.some(({ id }) => id === key);
    const missing = [...held.values()].filter(
      ({ lease }) =>
        !isShardEnd(lease.checkpoint) && !isListed(lease.key) && leases.some(({ key }) => key === lease.key),
    );
    if (listed.length > 0) await Promise.all(missing.map(dropIfGone));
  }

  async function dropIfGone(one: HeldLease): Promise<void> {
    if (!(await shards.isGone(one.lease.key))) return;
    await createChildren(listed.filter(({ parents }) => parents.includes(one.lease.key)));
    await drop(one, 'gone');
  }

  async function drop(one: HeldLease, kind: 'deleted' | 'gone'): Promise<void> {
    await one.make({ kind: 'delete' }).then(() => letGo(one, kind), fencedIsLost(one));
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
      if (children.length > 0) return one.make({ kind: 'children', children }).catch(fencedIsLost(one));
    }
    if (isFinished(lease, find) || (await isLeftOver(lease, find))) await drop(one, 'deleted');
  }

  /** Its shard has left the stream, and what followed has no lease that could wait for it. The list may be older than the shard. */
  async function isLeftOver({ key, children }: Lease, find: (key: string) => Lease | undefined): Promise<boolean> {
    if (listed.length === 0 || listed.some(({ id }) => id === key)) return false;
    return children.every((child) => find(child) === undefined) && shards.isGone(key);
  }

  /**
   * Gives every shard that should be read a lease; true when some were missing. Creating one that somebody else has created meanwhile
   * changes nothing.
   */
  async function sync(leases: readonly Lease[]): Promise<boolean> {
    listed = await shards.list('all');
    memory.listed(listed);
    const missing =
      leases.length === 0 ? firstLeases(await shards.list('initial'), initial) : await trulyMissing(leases);
    for (const lease of missing) await writes.make({ kind: 'create', lease });
    syncedAt = clock.monotonic();
    return missing.length > 0;
  }

  /** A look may be older than a lease: what is missing in it is asked for again, or its ancestors would be read once more. */
  async function trulyMissing(leases: readonly Lease[]): Promise<Lease[]> {
    const missing = missingLeases(listed, leases, initial);
    const found = await Promise.all(missing.map(({ key }) => table.read(key)));
    const present = found.filter((lease) => lease !== undefined);
    return present.length === 0 ? missing : missingLeases(listed, [...leases, ...present], initial);
  }

  function renewAll(): void {
    const now = clock.monotonic();
    for (const one of held.values()) {
      if (one.revoked.aborted || now - one.renewedAt >= failoverMs) letGo(one, 'lost');
      else if (!one.isBusy && now - one.renewedAt >= renewalShare * failoverMs) {
        one.make({ kind: 'renew' }).catch(fencedIsLost(one)).catch(troubleOrEnd);
      }
    }
  }

  function fencedIsLost(one: HeldLease): (error: unknown) => void {
    return (error) => {
      if (!(error instanceof WeirError) || error.code !== 'FENCED') throw error;
      letGo(one, 'lost');
    };
  }

  function trouble(error: unknown): void {
    onEvent({ kind: 'trouble', error });
  }

  /** After so many looks in a row that failed: the view has grown old, so what it says of when to look is long past. */
  function retryMs(failures: number): number {
    const share = Math.min(lookShare, firstRetryShare * 2 ** (failures - 1));
    return share * failoverMs * (0.75 + random.next() / 2);
  }

  /** What does not pass by itself ends the run. */
  function troubleOrEnd(error: unknown): void {
    trouble(error);
    if (!isPassing(error)) failed.abort(error);
  }

  /** How long until the table is to be looked at again: not much later than a lease expires. */
  function waitMs(): number {
    const now = clock.monotonic();
    const workers = leasesByWorker(view, worker, now, failoverMs).size;
    const share = Math.min(longestLookShare, lookShare * Math.max(1, workers / workersPerLook));
    const dueMs = Math.min(share * failoverMs, nextChange(view, worker, lookedAt, failoverMs) - now);
    return Math.max(0, isBeaten ? Math.min(dueMs, retryMs(1)) : dueMs);
  }

  async function keepLooking(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const asked = waiting;
      waiting = [];
      try {
        await lookAround(asked.length > 0);
        failures = 0;
        for (const done of asked) done();
      } catch (error) {
        // They wait for one that succeeds.
        waiting.unshift(...asked);
        if (!isPassing(error)) throw error;
        trouble(error);
        failures++;
      }
      if (waiting.length > 0 && failures === 0) continue;
      const cut = new AbortController();
      hurry = () => cut.abort();
      await clock.sleep(failures === 0 ? waitMs() : retryMs(failures), AbortSignal.any([signal, cut.signal]));
    }
  }

  /** Has the table looked at now. @param looked called once that is done. */
  function lookNow(looked: () => void): void {
    waiting.push(looked);
    hurry();
  }

  async function nextLook(): Promise<void> {
    if (!isRunning) return;
    await new Promise<void>(lookNow);
    // Whoever was told of a lease has then heard it.
    await clock.sleep(0);
  }

  async function keepRenewing(signal: AbortSignal): Promise<void> {
    while (await clock.sleep((renewalShare * failoverMs) / 4, signal)) renewAll();
  }

  async function giveUp(): Promise<void> {
    await Promise.all(
      [...held.values()].map(async (one) => {
        await one.make({ kind: 'evict' }).then(() => letGo(one, 'evicted'), trouble);
        letGo(one, 'lost');
      }),
    );
  }

  return {
    readable: memory.readable,
    known: memory.known,
    ancestors: memory.ancestors,
    isClosed: (key) => listed.some(({ id, isOpen }) => id === key && !isOpen),
    async run(signal) {
      const until = AbortSignal.any([signal, failed.signal]);
      const givenUp = new AbortController();
      const renewing = keepRenewing(givenUp.signal);
      try {
        await keepLooking(until);
        if (failed.signal.aborted) throw failed.signal.reason;
      } finally {
        isRunning = false;
        for (const done of waiting) done();
        // A lease that cannot be given up either is still to be let go of in time.
        await giveUp();
        givenUp.abort();
        await renewing;
      }
    },
    lookNow: () => lookNow(() => {}),
    async release(one) {
      await one.make({ kind: 'evict' }).then(() => letGo(one, 'evicted'), fencedIsLost(one));
    },
    async end(one, children) {
      const known = await table.list();
      const hasLease = (key: string) => known.some((lease) => lease.key === key) || key === one.lease.key;
      // A merged shard's other parent that has no lease yet would be left out if the child had one first.
      if (children.some(({ parents }) => !parents.every(hasLease))) await sync(known);
      await createChildren(children);
      if (children.length > 0) await one.make({ kind: 'children', children: children.map(({ id }) => id) });
      await one.make({ kind: 'checkpoint', checkpoint: shardEnd });
      onEvent({ kind: 'ended', lease: one.lease });
      await nextLook();
    },
  };
}

interface TableAndStream {
  readonly leases: readonly Lease[];
  readonly stream: readonly Shard[];
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined;
  return () => {
    asked ??= ask();
    return asked;
  };
}

/** It ends by itself: the table or the stream does not answer. */
function isPassing(error: unknown): boolean {
  return error instanceof WeirError && error.code === 'BROKER';
}
