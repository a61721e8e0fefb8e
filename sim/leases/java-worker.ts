import { isInitial, isShardEnd, shardEnd } from '../../consumers/kinesis/checkpoint.ts';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { changed, type LeaseChange } from '../../consumers/kinesis/lease-change.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { isFinished, isReady } from '../../consumers/kinesis/shards.ts';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Random } from '../../runtime/random.ts';
import type { SimulatedStream } from './stream.ts';

/**
 * A worker as the Kinesis Client Library 2.x is one: it renews each lease by a timer, looks at the table by another, takes what has expired up
 * to its share, else steals one by number and chance, asks nobody, and neither evens out nor gives up anything.
 */
export interface JavaWorkerParts {
  readonly name: string;
  readonly table: LeaseTable;
  readonly stream: SimulatedStream;
  readonly failoverMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when it ends. */
  readonly leaving: AbortSignal;
  readonly isRunning: () => boolean;
  /** Shards that it is at work on. */
  readonly reading: Map<string, unknown>;
  readonly publish: (id: string, from: number, to: number) => void;
  readonly onTaken: (lease: Lease) => void;
}

interface Owned {
  lease: Lease;
  renewedAt: number;
  /** Changes are made one after the other. */
  queue: Promise<unknown>;
}

/** By their own constants: a third of the lease's time less 25 ms, and twice that time more 50 ms. */
const renewalMs = (failoverMs: number) => failoverMs / 3 - 25;
const lookMs = (failoverMs: number) => 2 * (failoverMs + 25);

export function startJavaWorker(parts: JavaWorkerParts): void {
  const { name, table, stream, failoverMs, clock, random, leaving } = parts;
  const owned = new Map<string, Owned>();
  const seen = new Map<string, { readonly counter: number; readonly owner?: string; readonly at: number }>();

  /** What does not answer is tried again by the next turn of the timer. */
  async function whatAnswers<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof WeirError) || error.code !== 'BROKER') throw error;
      return undefined;
    }
  }

  async function every(ms: number, work: () => Promise<unknown>): Promise<void> {
    while (await clock.sleep(ms, leaving)) await work();
  }

  /** @returns true when it was made; the lease is lost when it was refused. */
  function make(one: Owned, changeOf: (lease: Lease) => LeaseChange): Promise<boolean> {
    const work = async () => {
      if (owned.get(one.lease.key) !== one) return false;
      const change = changeOf(one.lease);
      const sentAt = clock.monotonic();
      const isMade = await whatAnswers(table.write(change));
      if (isMade === undefined) {
        // Its own change may have been made: what the table has by now is gone on from while it is its own.
        const found = await whatAnswers(table.read(one.lease.key));
        if (found?.owner === name) one.lease = found;
        else if (found !== undefined) lose(one);
        return false;
      }
      if (!isMade) {
        const found = await whatAnswers(table.read(one.lease.key));
        if (found?.owner === name) one.lease = found;
        else lose(one);
        return false;
      }
      one.lease = changed(change);
      if (change.kind === 'delete') lose(one);
      else if (change.kind !== 'children') one.renewedAt = sentAt;
      return true;
    };
    const result = one.queue.then(work);
    one.queue = result.catch(() => undefined);
    return result;
  }

  function lose(one: Owned): void {
    if (owned.get(one.lease.key) === one) owned.delete(one.lease.key);
  }

  async function renew(): Promise<void> {
    const now = clock.monotonic();
    for (const one of owned.values()) if (now - one.renewedAt >= failoverMs) lose(one);
    await Promise.all([...owned.values()].map((one) => make(one, (lease) => ({ kind: 'renew', lease }))));
  }

  async function take(): Promise<void> {
    const leases = await whatAnswers(table.list());
    if (leases === undefined) return;
    const now = clock.monotonic();
    for (const { key, counter, owner } of leases) {
      if (seen.get(key)?.counter !== counter) seen.set(key, { counter, owner, at: now });
    }
    const isExpired = ({ key, owner }: Lease) => owner === undefined || now - seen.get(key)!.at >= failoverMs;
    const by = new Map<string, Lease[]>([[name, []]]);
    for (const lease of leases.filter((one) => !isExpired(one))) {
      by.set(lease.owner!, [...(by.get(lease.owner!) ?? []), lease]);
    }
    const share = Math.ceil(leases.length / by.size);
    const needed = share - by.get(name)!.length;
    const expired = leases.filter(isExpired);
    const wanted = expired.length > 0 ? pick(expired, needed) : stealFrom(by, share, needed);
    for (const lease of wanted) {
      const change: LeaseChange = { kind: 'take', lease, owner: name };
      const sentAt = clock.monotonic();
      if (!(await whatAnswers(table.write(change)))) continue;
      const one: Owned = { lease: changed(change), renewedAt: sentAt, queue: Promise.resolve() };
      owned.set(lease.key, one);
      parts.onTaken(lease);
      void read(one);
    }
  }

  function pick(from: readonly Lease[], count: number): Lease[] {
    const left = [...from];
    return Array.from({ length: Math.min(Math.max(0, count), left.length) }, () =>
      left.splice(random.below(left.length), 1),
    ).flat();
  }

  function stealFrom(by: ReadonlyMap<string, readonly Lease[]>, share: number, needed: number): Lease[] {
    const others = [...by].filter(([owner]) => owner !== name).map(([, leases]) => leases);
    const most = others.reduce<readonly Lease[]>((a, b) => (b.length > a.length ? b : a), []);
    const isAbove = needed > 0 && most.length > share;
    return isAbove || (needed > 1 && most.length === share) ? pick(most, 1) : [];
  }

  async function read(one: Owned): Promise<void> {
    const { key } = one.lease;
    const isOwned = () => owned.get(key) === one && !leaving.aborted;
    while (isOwned() && !(await mayRead(one))) await clock.sleep(1_000);
    const shard = stream.shards.get(key)!;
    let position = isInitial(one.lease.checkpoint) ? 0 : Number(one.lease.checkpoint.sequence);
    while (isOwned() && !isShardEnd(one.lease.checkpoint)) {
      parts.reading.set(key, one);
      await clock.sleep(300 + random.below(700));
      if (!isOwned() || !parts.isRunning() || clock.monotonic() - one.renewedAt >= failoverMs) continue;
      if (position < shard.records && !shard.isGone) {
        const next = Math.min(shard.records, position + 1 + random.below(60));
        parts.publish(key, position, next);
        position = next;
        await checkpoint(one, position);
      } else if (!shard.isOpen) await end(one);
    }
    if (parts.reading.get(key) === one) parts.reading.delete(key);
    while (isOwned() && (await clock.sleep(5_000))) await tidy(one);
  }

  async function mayRead({ lease }: Owned): Promise<boolean> {
    if (isShardEnd(lease.checkpoint)) return true;
    const parents = await whatAnswers(Promise.all(lease.parents.map((parent) => table.read(parent))));
    return parents !== undefined && isReady(lease, (parent) => parents.find((found) => found?.key === parent));
  }

  /** Until it is kept or the lease is lost. */
  async function checkpoint(one: Owned, position: number): Promise<void> {
    const to = { sequence: String(position), sub: 0 };
    while (owned.get(one.lease.key) === one) {
      if (one.lease.checkpoint.sequence === to.sequence) return;
      if (await make(one, (lease) => ({ kind: 'checkpoint', lease, checkpoint: to }))) return;
      await clock.sleep(200);
    }
  }

  async function end(one: Owned): Promise<void> {
    const children = stream.children(one.lease.key);
    const start = { sequence: 'TRIM_HORIZON', sub: 0 };
    // It makes the lease of a merged shard only where both parents have one, or neither has, and else tries again.
    const known = await whatAnswers(
      Promise.all(children.flatMap(({ parents }) => parents).map((id) => table.read(id))),
    );
    if (known === undefined || known.some((lease) => lease === undefined)) return;
    for (const { id, parents, hashRange } of children) {
      const lease = newLease(id, start, parents, hashRange);
      if ((await whatAnswers(table.write({ kind: 'create', lease }))) === undefined) return;
    }
    const ids = children.map(({ id }) => id);
    if (!(await make(one, (lease) => ({ kind: 'children', lease, children: ids })))) return;
    await make(one, (lease) => ({ kind: 'checkpoint', lease, checkpoint: shardEnd }));
  }

  async function tidy(one: Owned): Promise<void> {
    const leases = await whatAnswers(table.list(true));
    if (leases === undefined || !isFinished(one.lease, (key) => leases.find((lease) => lease.key === key))) return;
    await make(one, (lease) => ({ kind: 'delete', lease }));
  }

  void every(renewalMs(failoverMs), renew);
  void every(lookMs(failoverMs), take);
}
