import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { leasesToTake, leaseToEvenOut } from './balance.ts';
import { createGivenLeases } from './given-leases.ts';
import { createHandOver, patienceMs } from './hand-over.ts';
import type { HashRange } from './hash-range.ts';
import type { HeldLease } from './held-lease.ts';
import { createHeldLeases, renewalShare, throughputShare } from './held-leases.ts';
import type { Lease } from './lease.ts';
import type { LeaseEvent, LeaseLook } from './lease-event.ts';
import type { LeaseTable } from './lease-table.ts';
import { isFree, type LeaseView, leasesByWorker, look, nextChange } from './lease-view.ts';
import type { LeaseWords } from './lease-words.ts';
import { leaseWrites } from './lease-writes.ts';
import { createShardLeases, isPassing, type ShardList } from './shard-leases.ts';
import { isWanted, type ShardState, shardStandings, shardStates } from './shard-standing.ts';
import { type InitialPosition, missingLeases, type Shard } from './shards.ts';

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
  /** To the other workers of weir; absent where they cannot be asked for leases. */
  readonly words?: LeaseWords;
  /** A shard, which has the hash keys of the range, may be read from its lease's checkpoint on, until the lease is revoked. */
  readonly onReady: (held: HeldLease, hashRange: HashRange) => void;
  readonly onEvent?: (event: LeaseEvent) => void;
  /** The table has answered, and what it says was acted on: told what it says. */
  readonly onLook?: (look: LeaseLook) => void;
}

export interface LeaseCoordinator {
  /** Shares the leases with the other workers until the signal aborts; then gives its own up, so that others need not wait. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * A shard is done with: those that follow get their leases, parents before children, and this worker its share of them before the
   * answer.
   */
  end(held: HeldLease, children: readonly Shard[]): Promise<void>;
  /** There is word of leases that were given up, or handed over to this worker: looks at the table now. */
  lookNow(): void;
  /** Another worker asks for a lease of this one's. */
  asked(key: string, by: string): void;
  /** It does not ask for it any more. */
  withdrawn(key: string, by: string): void;
  /** Gives a lease up, so that others need not wait, or to the one that has asked for it. */
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

/** A look at the whole table, for a fleet of up to so many workers; a larger one looks the less often each. */
const lookShare = 0.4;
const workersPerLook = 10;
const longestLookShare = 2;
/** After a look that failed, doubling up to `lookShare`. */
const firstRetryShare = 0.05;
/** So long a worker that has taken a lease to even out what goes through them waits with the next: all is then measured anew. */
const eveningShare = 3 * throughputShare;

export function createLeaseCoordinator(parts: LeaseCoordinatorParts): LeaseCoordinator {
  const { table, worker, failoverMs, initial, clock, random } = parts;
  const onEvent = parts.onEvent ?? (() => {});
  const writes = leaseWrites(table, worker, failoverMs, clock);
  const held = createHeldLeases({ writes, worker, failoverMs, checkpointMs: parts.checkpointMs, clock, onEvent });
  const shardLeases = createShardLeases({ ...parts, writes, held });
  const { memory } = shardLeases;
  const handOver = createHandOver({ words: parts.words, worker, failoverMs, clock });
  const given = createGivenLeases();
  parts.leaving.addEventListener('abort', handOver.withdraw, { once: true });
  let view: LeaseView = new Map();
  /** When what it shows was asked for. */
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** When this worker last went for a lease. */
  let changedAt = clock.monotonic();
  /** Ends the wait for the next look. */
  let hurry = () => {};
  /** Those who wait for a look that begins after they asked. */
  let waiting: (() => void)[] = [];
  let isRunning = true;
  /** Another worker was faster with a lease that this one went for: there may be others. */
  let isBeaten = false;
  /** Aborts, with the error, when the leases cannot be kept any more. */
  const failed = new AbortController();

  /**
   * One look at the table, and what follows from it.
   * @param isCurrent for one who knows that something has just changed.
   */
  async function lookAround(isCurrent: boolean): Promise<void> {
    let askedAt = clock.monotonic();
    isBeaten = false;
    let leases = await table.list(isCurrent);
    if (!isCurrent && shardLeases.hidesWhatFollows(leases)) {
      askedAt = clock.monotonic();
      leases = await table.list(true);
    }
    let syncFault: unknown;
    const isDue = askedAt - shardLeases.syncedAt >= parts.shardSyncMs;
    if (isDue) {
      // The leases that there are have to be shared also while the stream cannot be asked for its shards.
      const hasNew = await shardLeases.sync(leases).catch((error: unknown) => {
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
    held.noticeLosses(view);
    if (isDue && syncFault === undefined) await shardLeases.dropGone(leases);
    // One of its own that it has let go of, while the table did not answer, has nobody else who works on it.
    const dropped = leases.filter(({ owner }) => owner === worker);
    const returned = given.unwanted(leases).map((lease) => ({ ...lease, owner: undefined }));
    if (!parts.leaving.aborted) {
      const wanted = new Map([...leasesWanted(askedAt), ...dropped, ...returned].map((lease) => [lease.key, lease]));
      await allOf([...wanted.values()].filter(({ key }) => !held.has(key)).map(take));
    }
    await shardLeases.startOrFinish(view);
    parts.onLook?.(lookOf(leases, askedAt));
    if (syncFault !== undefined) trouble(syncFault);
  }

  function lookOf(leases: readonly Lease[], askedAt: number): LeaseLook {
    const due = missingLeases(shardLeases.listed, leases, initial).map(({ key }) => key);
    const shards = { ...noShards };
    const by = { self: held.size, other: 0, none: 0 };
    for (const { state, seen } of shardStandings(shardLeases.listed, view, new Set(due))) {
      shards[state]++;
      if (seen === undefined || held.has(seen.lease.key)) continue;
      if (!isFree(seen, askedAt, failoverMs)) by.other++;
      else if (isWanted(state)) by.none++;
    }
    return { shards, leases: by };
  }

  /** Those to be taken now. One that a worker of weir is to hand over is asked for. */
  function leasesWanted(now: number): Lease[] {
    handOver.look(view, now);
    const expected = handOver.expected(view);
    const overdue = handOver.overdue(view, now);
    return [...overdue, ...handOver.unasked(leasesDue(expected, now), view, now)];
  }

  function leasesDue(expected: LeaseView, now: number): Lease[] {
    const options = { worker, failoverMs, maxLeases: parts.maxLeases, random };
    const wanted = leasesToTake(expected, now, options);
    if (wanted.length > 0) changedAt = now;
    if (wanted.length > 0 || now - changedAt < eveningShare * failoverMs) return wanted;
    const evening = leaseToEvenOut(expected, now, options);
    if (evening === undefined) return [];
    changedAt = now;
    return [evening];
  }

  async function take(lease: Lease): Promise<void> {
    const { key, owner } = lease;
    const sentAt = clock.monotonic();
    const taken = await held.take(lease);
    if (taken === undefined) {
      isBeaten = true;
      return;
    }
    const unowned = handOver.received(key) ? 'received' : 'taken';
    const isLiving = sentAt - (view.get(key)?.since ?? sentAt) < failoverMs;
    const kind = owner === undefined || owner === worker ? unowned : isLiving ? 'stolen' : 'expired';
    onEvent({ kind, lease: taken.lease });
    // What it would have from now on is for others.
    if (parts.leaving.aborted) await release(taken);
  }

  /** Where that was asked for, others read on: what passes is no fault of a worker that goes on. */
  async function release(one: HeldLease): Promise<void> {
    // While this worker leaves it does not hear for long who has left as well.
    const wantedBy = parts.leaving.aborted ? undefined : one.wantedBy;
    try {
      await one.make(wantedBy === undefined ? { kind: 'evict' } : { kind: 'give', owner: wantedBy });
    } catch (error) {
      if (!one.recalled.aborted || !isPassing(error)) return held.fencedIsLost(one)(error);
      trouble(error);
      return held.letGo(one, 'lost');
    }
    held.letGo(one, wantedBy === undefined ? 'evicted' : 'handed');
    if (wantedBy !== undefined) {
      given.gave(one.lease);
      parts.words?.handed(wantedBy, one.lease.key);
    }
    // It may be for this worker again, which goes on.
    if (one.recalled.aborted && one.wantedBy === undefined && !parts.leaving.aborted) lookNow(() => {});
  }

  /** What was asked for may have been handed over when this worker had begun to leave. */
  async function giveBack(): Promise<void> {
    handOver.withdraw();
    for (const key of handOver.keys) {
      const lease = await table.read(key);
      if (lease?.owner !== worker || held.has(key)) continue;
      await writes.make({ kind: 'evict', lease });
      onEvent({ kind: 'evicted', lease });
    }
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
    const changesAt = Math.min(nextChange(view, worker, lookedAt, failoverMs), handOver.dueAt(lookedAt));
    const dueMs = Math.min(share * failoverMs, changesAt - now);
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
    while (await clock.sleep((renewalShare * failoverMs) / 4, signal)) held.renewDue(troubleOrEnd);
  }

  return {
    readable: memory.readable,
    known: memory.known,
    ancestors: memory.ancestors,
    isClosed: (key) => shardLeases.listed.some(({ id, isOpen }) => id === key && !isOpen),
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
        await Promise.all([held.giveUp(trouble), giveBack().catch(trouble)]);
        givenUp.abort();
        await renewing;
      }
    },
    lookNow: () => lookNow(() => {}),
    asked(key, by) {
      given.asked(key, by);
      const one = held.get(key);
      if (one === undefined || one.recalled.aborted || parts.leaving.aborted) return;
      one.recall(by, patienceMs(failoverMs));
      // Who reads it is to finish what is under way, and then releases it.
      if (!shardLeases.isRead(one)) void release(one).catch(troubleOrEnd);
    },
    withdrawn(key, by) {
      held.get(key)?.withdraw(by);
      if (given.withdrawn(key, by)) lookNow(() => {});
    },
    release,
    async end(one, children) {
      await shardLeases.end(one, children);
      onEvent({ kind: 'ended', lease: one.lease });
      await nextLook();
    },
  };
}

/**
 * Waits for all, whatever becomes of one of them: a lease that is taken behind its look's end would be taken once more by the next, or by one who
 * has given up all.
 */
async function allOf(takes: readonly Promise<void>[]): Promise<void> {
  for (const ended of await Promise.allSettled(takes)) if (ended.status === 'rejected') throw ended.reason;
}
