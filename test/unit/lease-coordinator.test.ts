import { describe, expect, it } from '@jest/globals';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { createLeaseCoordinator, type LeaseEvent } from '../../consumers/kinesis/lease-coordinator.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import type { Shard } from '../../consumers/kinesis/shards.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';
import { createProcess, createWorld } from '../../sim/leases/world.ts';

const failoverMs = 10_000;
const shardSyncMs = 60_000;

const shards: readonly Shard[] = ['0', '1', '2', '3'].map((n) => ({
  id: `shardId-00000000000${n}`,
  parents: [],
  hashRange: { start: n, end: n },
  isOpen: true,
}));

/** A worker in virtual time whose table and stream may refuse at once, as a closed port does; what it asks of them is counted. */
function startWorker(away = { table: false, stream: false }) {
  const world = createWorld();
  const { clock } = createProcess(world, 1, 0);
  const truth = memoryLeaseTable();
  const asked = { table: 0, stream: 0 };
  const held = new Set<string>();
  const events: LeaseEvent['kind'][] = [];
  const ask = async <T>(what: keyof typeof away, answer: () => Promise<T>): Promise<T> => {
    // Without waits between them requests would never let virtual time pass.
    if (++asked[what] > 1_000) throw new Error(`the ${what} is asked again and again`);
    if (away[what]) throw new WeirError('BROKER', `the ${what} refuses`);
    return answer();
  };
  const table: LeaseTable = {
    list: () => ask('table', truth.list),
    read: (key) => ask('table', () => truth.read(key)),
    write: (change) => ask('table', () => truth.write(change)),
  };
  const coordinator = createLeaseCoordinator({
    table,
    shards: { list: () => ask('stream', async () => [...shards]) },
    worker: 'one',
    failoverMs,
    shardSyncMs,
    maxLeases: 100,
    checkpointMs: 0,
    initial: 'TRIM_HORIZON',
    clock,
    random: seededRandom(1),
    onReady: ({ lease, revoked }) => {
      held.add(lease.key);
      revoked.addEventListener('abort', () => held.delete(lease.key));
    },
    onEvent: ({ kind }) => events.push(kind),
  });
  const stop = new AbortController();
  const ended = coordinator.run(stop.signal);
  return {
    world,
    truth,
    asked,
    away,
    held,
    events,
    /** Gives the requests of a time to come. */
    async during(ms: number): Promise<{ readonly table: number; readonly stream: number }> {
      const before = { ...asked };
      await Promise.race([world.run(world.now + ms), ended]);
      return { table: asked.table - before.table, stream: asked.stream - before.stream };
    },
    async end() {
      stop.abort();
      await world.run(world.now + 2 * failoverMs);
      await ended;
    },
  };
}

/** A worker takes two leases and is never heard of again. */
async function takeSilently(truth: LeaseTable): Promise<void> {
  for (const { id, parents, hashRange } of shards.slice(0, 2)) {
    const made = newLease(id, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, hashRange);
    await truth.write({ kind: 'create', lease: made });
    await truth.write({ kind: 'take', lease: (await truth.read(id))!, owner: 'silent' });
  }
}

describe('a lease table that does not answer', () => {
  it('is asked ever less often, also once the leases of others have run out', async () => {
    const { truth, away, during, end } = startWorker();
    await takeSilently(truth);
    await during(1_000);
    away.table = true;
    await during(2 * failoverMs);
    const { table } = await during(10 * failoverMs);
    // One look each 0.4 of the failover time, less or more a quarter.
    expect(table).toBeGreaterThan(15);
    expect(table).toBeLessThan(40);
    away.table = false;
    await end();
  });

  it('is asked again at once after a single failure', async () => {
    const { away, events, during, held, end } = startWorker({ table: true, stream: false });
    await during(100);
    expect(events).toEqual(['trouble']);
    away.table = false;
    await during(0.1 * failoverMs);
    expect(held.size).toBe(shards.length);
    await end();
  });
});

describe('a stream that does not answer', () => {
  it('keeps nobody from taking leases over, and is asked no more often than the table', async () => {
    const { truth, away, held, during, end } = startWorker();
    await during(1_000);
    away.stream = true;
    await during(shardSyncMs);
    expect(held.size).toBe(shards.length);
    await takeSilently(truth);
    await during(0.5 * failoverMs);
    expect(held.size).toBe(shards.length - 2);
    await during(0.5 * failoverMs + 5_000);
    expect(held.size).toBe(shards.length);
    const { stream, table } = await during(10 * failoverMs);
    expect(stream).toBeGreaterThan(15);
    expect(stream).toBeLessThan(40);
    // The looks and the renewals.
    expect(table).toBeLessThan(200);
    await end();
  });
});
