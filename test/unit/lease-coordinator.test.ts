import { describe, expect, it } from '@jest/globals';
import type { HashRange } from '../../consumers/kinesis/hash-range.ts';
import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { createLeaseCoordinator } from '../../consumers/kinesis/lease-coordinator.ts';
import type { LeaseEvent, LeaseLook } from '../../consumers/kinesis/lease-event.ts';
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

const trimHorizon = { sequence: 'TRIM_HORIZON', sub: 0 };

/** A worker in virtual time whose table and stream may refuse at once, as a closed port does; what it asks of them is counted. */
function startWorker(away = { table: false, stream: false }) {
  const world = createWorld();
  const { clock } = createProcess(world, 1, 0);
  const truth = memoryLeaseTable();
  const asked = { table: 0, stream: 0 };
  const held = new Map<string, HeldLease>();
  const ranges = new Map<string, HashRange>();
  /** Shards that were to be read while they were being read. */
  const doubled: string[] = [];
  const stream = { shards: [...shards], gone: [] as string[] };
  const users = { hasLeader: false };
  const leaving = new AbortController();
  const events: LeaseEvent['kind'][] = [];
  const told: LeaseLook[] = [];
  const ask = async <T>(what: keyof typeof away, answer: () => Promise<T>): Promise<T> => {
    // Without waits between them requests would never let virtual time pass.
    if (++asked[what] > 1_000) throw new Error(`the ${what} is asked again and again`);
    if (away[what]) throw new WeirError('BROKER', `the ${what} refuses`);
    return answer();
  };
  /** Of each look whether it was to be current. */
  const looks: boolean[] = [];
  /** What the table answers to looks that need not be current: what it had some time before. */
  const older = { answer: undefined as readonly Lease[] | undefined };
  /** What happens before the next take arrives. */
  const refuse = { next: async (_lease: Lease): Promise<unknown> => undefined };
  const table: LeaseTable = {
    async demandShareable() {
      if (users.hasLeader) throw new WeirError('INPUT', 'the table has a leader');
    },
    list(isCurrent = false) {
      looks.push(isCurrent);
      return ask('table', async () => [...((!isCurrent && older.answer) || (await truth.list()))]);
    },
    read: (key) => ask('table', () => truth.read(key)),
    async write(change) {
      if (change.kind === 'take') await refuse.next(change.lease);
      return ask('table', () => truth.write(change));
    },
  };
  const coordinator = createLeaseCoordinator({
    table,
    shards: {
      list: () => ask('stream', async () => [...stream.shards]),
      isGone: async (id) => stream.gone.includes(id),
    },
    worker: 'one',
    failoverMs,
    shardSyncMs,
    maxLeases: 100,
    checkpointMs: 0,
    initial: 'TRIM_HORIZON',
    clock,
    random: seededRandom(1),
    leaving: leaving.signal,
    onReady: (one, hashRange) => {
      const { key } = one.lease;
      ranges.set(key, hashRange);
      if (held.has(key)) doubled.push(key);
      held.set(key, one);
      one.revoked.addEventListener('abort', () => held.delete(key));
    },
    onEvent: ({ kind }) => events.push(kind),
    onLook: (look) => told.push(look),
  });
  const stop = new AbortController();
  const ended = coordinator.run(stop.signal);
  return {
    world,
    truth,
    stream,
    users,
    leaving,
    coordinator,
    looks,
    older,
    refuse,
    asked,
    away,
    held,
    ranges,
    doubled,
    events,
    told,
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
    const made = newLease(id, trimHorizon, parents, hashRange);
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

describe('a table that cannot be shared any more', () => {
  it('is given up at the next comparison of shards and leases', async () => {
    const { truth, users, during, held } = startWorker();
    await during(1_000);
    users.hasLeader = true;
    await during(0.9 * shardSyncMs);
    expect(held.size).toBe(shards.length);
    await expect(during(0.2 * shardSyncMs)).rejects.toMatchObject({ code: 'INPUT' });
    expect((await truth.list()).filter(({ owner }) => owner !== undefined)).toEqual([]);
  });
});

describe('a shard that has left the stream before it was read to its end', () => {
  it('is given up, and those that followed it are read', async () => {
    const { truth, stream, during, held, events, end } = startWorker();
    await during(1_000);
    const [gone, ...others] = stream.shards;
    const child = { ...gone, id: 'shardId-000000000004', parents: [gone.id] };
    stream.shards = [...others, child];
    await during(shardSyncMs + failoverMs);
    // As long as the stream itself has it, the list is what is wrong.
    expect(await truth.read(gone.id)).toBeDefined();
    stream.gone.push(gone.id);
    await during(shardSyncMs + failoverMs);
    expect(await truth.read(gone.id)).toBeUndefined();
    expect([...held.keys()].sort()).toEqual(stream.shards.map(({ id }) => id));
    expect(events.filter((kind) => kind === 'gone')).toHaveLength(1);
    await end();
  });
});

describe('the lease of a shard that was read to its end', () => {
  it('is tidied away once the shard has left the stream, also where what followed it has no lease any more', async () => {
    const { truth, stream, during, end } = startWorker();
    const [first] = stream.shards;
    stream.shards = [...shards.slice(1)];
    const lease = { ...newLease(first.id, { sequence: 'SHARD_END', sub: 0 }, [], first.hashRange) };
    await truth.write({ kind: 'create', lease });
    await truth.write({ kind: 'children', lease, children: ['shardId-000000000009'] });
    await during(shardSyncMs + failoverMs);
    // The list may be older than the shard.
    expect(await truth.read(first.id)).toBeDefined();
    stream.gone.push(first.id);
    await during(failoverMs);
    expect(await truth.read(first.id)).toBeUndefined();
    await end();
  });

  it('is tidied away while what followed it is read, also where one of these has left the stream unread', async () => {
    const { truth, stream, during, end } = startWorker();
    const [first, ...others] = stream.shards;
    const [left, right] = [4, 5].map((n) => ({ ...first, id: `shardId-00000000000${n}`, parents: [first.id] }));
    stream.shards = [...others, right];
    const lease = newLease(first.id, { sequence: 'SHARD_END', sub: 0 }, [], first.hashRange);
    await truth.write({ kind: 'create', lease });
    await truth.write({ kind: 'children', lease, children: [left.id, right.id] });
    const read = newLease(right.id, { sequence: '4968', sub: 0 }, right.parents, first.hashRange);
    await truth.write({ kind: 'create', lease: read });
    await during(shardSyncMs + failoverMs);
    expect(await truth.read(first.id)).toBeDefined();
    stream.gone.push(left.id);
    await during(failoverMs);
    expect(await truth.read(first.id)).toBeUndefined();
    await end();
  });
});

describe('a lease that is made anew after its shard was read to its end', () => {
  it('is not read from, but tidied away', async () => {
    const { truth, stream, during, held, end } = startWorker();
    const [first] = stream.shards;
    const child = { ...first, id: 'shardId-000000000004', parents: [first.id] };
    stream.shards = [{ ...first, isOpen: false }, child];
    const start = { sequence: 'TRIM_HORIZON', sub: 0 };
    for (const [id, sequence] of [
      [first.id, 'TRIM_HORIZON'],
      [child.id, '4968'],
    ]) {
      const lease = newLease(id, { ...start, sequence }, id === child.id ? [first.id] : [], first.hashRange);
      await truth.write({ kind: 'create', lease });
    }
    await during(4 * failoverMs);
    expect([...held.keys()]).toEqual([child.id]);
    expect(await truth.read(first.id)).toBeUndefined();
    await end();
  });
});

describe('what was once seen of shards', () => {
  /** The first shard, and what came from it one after the other, all but the last read to their end. */
  async function startLine() {
    const worker = startWorker();
    const { hashRange } = shards[0];
    const line = [0, 4, 5].map((n) => `shardId-00000000000${n}`);
    const parentsOf = (at: number) => line.slice(Math.max(0, at - 1), at);
    worker.stream.shards = line.map((id, at) => ({ id, parents: parentsOf(at), hashRange, isOpen: at === 2 }));
    for (const [at, id] of line.entries()) {
      const sequence = at < 2 ? 'SHARD_END' : '4968';
      const lease = newLease(id, { sequence, sub: 0 }, parentsOf(at), hashRange);
      await worker.truth.write({ kind: 'create', lease });
    }
    return { ...worker, line };
  }

  it('says where they came from, also once the leases and the shards are gone', async () => {
    const { truth, stream, coordinator, during, line, end } = await startLine();
    await during(shardSyncMs);
    expect((await truth.list()).map(({ key }) => key)).toEqual([line[2]]);
    stream.shards = stream.shards.slice(2);
    await during(shardSyncMs + failoverMs);
    expect(coordinator.known()).toEqual([line[2]]);
    expect(coordinator.ancestors(line[2])).toEqual([line[1], line[0]]);
    expect(coordinator.ancestors(line[0])).toEqual([]);
    await end();
  });

  it('says that they were read to their end, also where the table answers with what it had before', async () => {
    const { truth, coordinator, during, older, line, end } = await startLine();
    await during(100);
    expect(coordinator.readable()).toEqual([line[2]]);
    const leases = await truth.list();
    older.answer = leases.map((lease) => ({ ...lease, checkpoint: { sequence: '4967', sub: 0 } }));
    await during(failoverMs);
    expect(coordinator.readable()).toEqual([line[2]]);
    await end();
  });
});

describe('the end of a shard that another worker had', () => {
  it('is not seen without what follows it, though a look may show the one and not yet the other', async () => {
    const { truth, stream, coordinator, looks, older, during, end } = startWorker();
    await takeSilently(truth);
    await during(100);
    const [parent] = stream.shards;
    const child = { ...parent, id: 'shardId-000000000004', parents: [parent.id] };
    await truth.write({ kind: 'create', lease: newLease(child.id, trimHorizon, child.parents, child.hashRange) });
    await truth.write({ kind: 'take', lease: (await truth.read(child.id))!, owner: 'silent' });
    await truth.write({ kind: 'children', lease: (await truth.read(parent.id))!, children: [child.id] });
    const checkpoint = { sequence: 'SHARD_END', sub: 0 };
    await truth.write({ kind: 'checkpoint', lease: (await truth.read(parent.id))!, checkpoint });
    older.answer = (await truth.list()).filter(({ key }) => key !== child.id);
    const before = looks.length;
    await during(0.4 * failoverMs);
    expect(coordinator.readable()).toContain(child.id);
    expect(coordinator.readable()).not.toContain(parent.id);
    // Once: what is not there even so will not be there the next time.
    expect(looks.slice(before).filter((isCurrent) => isCurrent)).toHaveLength(1);
    await end();
  });
});

describe('the hash keys of a shard', () => {
  it('are those that the stream tells where its lease was made without, and it is not read before', async () => {
    const { truth, stream, away, during, ranges, end } = startWorker();
    const [bare, told] = shards;
    for (const { id, parents } of [bare, told]) {
      const range = id === told.id ? { start: '7', end: '8' } : undefined;
      await truth.write({ kind: 'create', lease: newLease(id, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, range) });
    }
    away.stream = true;
    await during(2 * failoverMs);
    expect([...ranges]).toEqual([[told.id, { start: '7', end: '8' }]]);
    stream.shards = [told];
    away.stream = false;
    await during(shardSyncMs);
    expect(ranges.size).toBe(1);
    stream.shards = [bare, told];
    await during(shardSyncMs + failoverMs);
    expect(ranges.get(bare.id)).toEqual(bare.hashRange);
    await end();
  });
});

describe("a shard's end", () => {
  it('is done with once what follows it was looked for, however long the table is away meanwhile', async () => {
    const { coordinator, away, during, held, events, end } = startWorker();
    await during(failoverMs);
    const push = events.push.bind(events);
    events.push = (...kinds) => {
      away.table ||= kinds.includes('ended');
      return push(...kinds);
    };
    let isDone = false;
    const ending = coordinator.end([...held.values()][0], []).then(() => {
      isDone = true;
    });
    await during(failoverMs / 2);
    expect([events.includes('ended'), isDone]).toEqual([true, false]);
    away.table = false;
    await during(failoverMs / 2);
    await ending;
    expect(isDone).toBe(true);
    await end();
  });
});

describe('word of leases that were given up', () => {
  it('has the table looked at at once, as it is now', async () => {
    const { truth, stream, coordinator, during, held, looks, end } = startWorker();
    stream.shards = [];
    await during(1_000);
    for (const { id, parents, hashRange } of shards) {
      const lease = newLease(id, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, hashRange);
      await truth.write({ kind: 'create', lease });
    }
    const before = looks.length;
    coordinator.lookNow();
    await during(100);
    // The other one asks whether the shards were read before.
    expect(looks.slice(before)).toEqual([true, true]);
    expect(held.size).toBe(shards.length);
    await end();
  });

  it('is followed by another look where somebody else was faster', async () => {
    const { truth, stream, coordinator, during, held, looks, refuse, end } = startWorker();
    stream.shards = [];
    await during(1_000);
    const [{ id, parents, hashRange }] = shards;
    const lease = newLease(id, { sequence: 'TRIM_HORIZON', sub: 0 }, parents, hashRange);
    await truth.write({ kind: 'create', lease });
    const before = looks.length;
    refuse.next = async () => truth.write({ kind: 'take', lease, owner: 'two' });
    coordinator.lookNow();
    await during(0.1 * failoverMs);
    expect(held.size).toBe(0);
    // And no more than that: nobody was faster in it.
    expect(looks.slice(before)).toEqual([true, false]);
    await end();
  });
});

describe('a worker that is about to leave', () => {
  it('takes nothing that it has given up, nor anything else', async () => {
    const { truth, leaving, coordinator, during, held, events, end } = startWorker();
    await during(1_000);
    leaving.abort();
    const released = [...held.values()][0];
    void coordinator.release(released);
    await during(4 * failoverMs);
    expect((await truth.read(released.lease.key))?.owner).toBeUndefined();
    expect(held.size).toBe(shards.length - 1);
    expect(events.filter((kind) => kind === 'evicted')).toHaveLength(1);
    await end();
  });
});

describe('a take that is answered late', () => {
  it('is waited for, also when another one has failed: nobody reads a shard twice', async () => {
    const { world, truth, stream, coordinator, during, held, doubled, refuse, end } = startWorker();
    stream.shards = [];
    await during(1_000);
    const [late, other] = shards;
    for (const { id, parents, hashRange } of [late, other]) {
      await truth.write({ kind: 'create', lease: newLease(id, trimHorizon, parents, hashRange) });
    }
    const answer = Promise.withResolvers<void>();
    let isFirst = true;
    refuse.next = async ({ key }) => {
      // For as long as such a change is tried.
      if (key === other.id && world.now < failoverMs + 2_000) throw new WeirError('BROKER', 'the table refuses');
      const isLate = isFirst && key === late.id;
      isFirst &&= !isLate;
      if (isLate) await answer.promise;
    };
    coordinator.lookNow();
    await during(failoverMs + 3_000);
    answer.resolve();
    await during(failoverMs);
    expect([...held.keys()].sort()).toEqual([late.id, other.id]);
    expect(doubled).toEqual([]);
    await end();
  });

  it('is given up again at once where the worker is about to leave by then', async () => {
    const { truth, stream, leaving, coordinator, during, events, refuse, end } = startWorker();
    stream.shards = [];
    await during(1_000);
    const [{ id, parents, hashRange }] = shards;
    await truth.write({ kind: 'create', lease: newLease(id, trimHorizon, parents, hashRange) });
    refuse.next = async () => leaving.abort();
    coordinator.lookNow();
    await during(100);
    expect((await truth.read(id))?.owner).toBeUndefined();
    expect(events).toEqual(['taken', 'evicted']);
    await end();
  });
});

describe('what is told of a look at the table', () => {
  it('is whose leases are, nobody has only those that somebody should', async () => {
    const { truth, stream, leaving, during, told, end } = startWorker();
    leaving.abort();
    await takeSilently(truth);
    const read: Shard = { ...shards[0], id: 'shardId-000000000004', isOpen: false };
    stream.shards.push(read);
    const lease = newLease(read.id, { sequence: 'SHARD_END', sub: 0 }, read.parents, read.hashRange);
    await truth.write({ kind: 'create', lease });
    await during(0.5 * failoverMs);
    expect(told.at(-1)).toMatchObject({
      leases: { self: 0, other: 2, none: 2 },
      shards: { open: 4, finished: 1, missing: 0, gone: 0 },
    });
    await during(failoverMs);
    expect(told.at(-1)?.leases).toEqual({ self: 0, other: 0, none: 4 });
    await end();
  });

  it('has what this worker holds', async () => {
    const { truth, during, told, end } = startWorker();
    await takeSilently(truth);
    await during(0.5 * failoverMs);
    expect(told.at(-1)?.leases).toEqual({ self: 2, other: 2, none: 0 });
    await end();
  });
});
