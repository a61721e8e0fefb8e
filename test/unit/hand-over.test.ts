import { describe, expect, it } from '@jest/globals';
import { patienceMs } from '../../consumers/kinesis/hand-over.ts';
import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import { type Lease, newLease } from '../../consumers/kinesis/lease.ts';
import { createLeaseCoordinator, type LeaseCoordinator } from '../../consumers/kinesis/lease-coordinator.ts';
import type { LeaseEvent } from '../../consumers/kinesis/lease-event.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import type { Shard } from '../../consumers/kinesis/shards.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import { memoryLeaseTable } from '../../sim/leases/memory-table.ts';
import { createProcess, createWorld } from '../../sim/leases/world.ts';

const failoverMs = 10_000;
const shardOf = (n: number, parents: readonly string[] = []): Shard => ({
  id: `shardId-00000000000${n}`,
  parents,
  hashRange: { start: String(n), end: String(n) },
  isOpen: true,
});
const nameOf = (n: number) => `weir:${String(n).padStart(12, '0')}`;

interface WorkerOptions {
  /** False where it is none that can ask, nor be asked. */
  readonly hasWords?: boolean;
  /** It does not hear what it is told. */
  readonly isDeaf?: boolean;
  /** It does not finish with what it has to hand over. */
  readonly isStuck?: boolean;
}

interface Worker {
  readonly name: string;
  readonly coordinator: LeaseCoordinator;
  /** What it reads. */
  readonly reading: Map<string, HeldLease>;
  readonly events: LeaseEvent['kind'][];
  /** What it has said. */
  readonly said: string[];
  readonly leaving: AbortController;
  /** What keeps its requests from being made. */
  fault: Error | undefined;
  stop(): void;
}

/** Workers in virtual time over one table, and what they tell each other. */
function startFleet(stream: readonly Shard[] = [0, 1, 2, 3].map((n) => shardOf(n))) {
  const world = createWorld();
  const truth = memoryLeaseTable();
  const workers: Worker[] = [];
  /** What happens before a take, and a give, arrives. */
  const beforeTake = { work: async () => {} };
  const beforeGive = { work: async () => {} };

  async function through<T>(worker: () => Worker, answer: () => Promise<T>): Promise<T> {
    const { fault } = worker();
    if (fault !== undefined) throw fault;
    return answer();
  }

  function start({ hasWords = true, isDeaf = false, isStuck = false }: WorkerOptions = {}): Worker {
    const name = nameOf(workers.length);
    const { clock } = createProcess(world, 1, 0);
    const [stop, leaving] = [new AbortController(), new AbortController()];
    const own = () => worker;
    const say = (to: string, word: string, tell: (other: Worker) => void) => {
      worker.said.push(word);
      const other = workers.find((one) => one.name === to);
      if (other !== undefined && !deaf.has(other)) world.at(world.now + 500, () => tell(other));
    };
    const table: LeaseTable = {
      demandShareable: async () => {},
      list: () => through(own, () => truth.list()),
      read: (key) => through(own, () => truth.read(key)),
      async write(change) {
        if (change.kind === 'take') await beforeTake.work();
        if (change.kind === 'give') await beforeGive.work();
        return through(own, () => truth.write(change));
      },
    };
    const coordinator: LeaseCoordinator = createLeaseCoordinator({
      table,
      shards: { list: async () => [...stream], isGone: async () => false },
      worker: name,
      failoverMs,
      shardSyncMs: 60_000,
      maxLeases: 100,
      checkpointMs: 0,
      initial: 'TRIM_HORIZON',
      clock,
      random: seededRandom(workers.length),
      leaving: leaving.signal,
      words: hasWords
        ? {
            ask: (owner, key) => say(owner, `ask ${key}`, (other) => other.coordinator.asked(key, name)),
            withdraw: (owner, key) => say(owner, `withdraw ${key}`, (other) => other.coordinator.withdrawn(key, name)),
            handed: (to, key) => say(to, `handed ${key}`, (other) => other.coordinator.lookNow()),
          }
        : undefined,
      onReady(held) {
        const { key } = held.lease;
        worker.reading.set(key, held);
        held.revoked.addEventListener('abort', () => worker.reading.delete(key));
        held.recalled.addEventListener('abort', () => {
          if (!isStuck) void finish(held, coordinator).catch(() => undefined);
        });
      },
      onEvent: ({ kind }) => worker.events.push(kind),
    });
    const worker: Worker = {
      ...{ name, coordinator, reading: new Map(), events: [], said: [], leaving },
      fault: undefined,
      stop() {
        leaving.abort();
        stop.abort();
      },
    };
    if (isDeaf) deaf.add(worker);
    workers.push(worker);
    void coordinator.run(stop.signal);
    return worker;
  }
  const deaf = new Set<Worker>();

  /** A batch is under way; it is published, and then checkpointed. */
  async function finish(held: HeldLease, coordinator: LeaseCoordinator): Promise<void> {
    await new Promise<void>((resolve) => world.at(world.now + 700, resolve));
    await held.make({ kind: 'checkpoint', checkpoint: { sequence: '4968', sub: 0 } });
    await coordinator.release(held);
  }

  return {
    world,
    truth,
    start,
    beforeTake,
    beforeGive,
    during: (ms: number) => world.run(world.now + ms),
    async owners(): Promise<readonly (string | undefined)[]> {
      return (await truth.list()).map(({ owner }) => owner);
    },
    async end() {
      for (const worker of workers) worker.stop();
      await world.run(world.now + 3 * failoverMs);
    },
  };
}

/** What a worker that has nothing yet takes from a worker that has all four, and when. */
async function joinOne(options: { readonly owner?: WorkerOptions; readonly joins?: WorkerOptions } = {}) {
  const fleet = startFleet();
  const owner = fleet.start(options.owner);
  await fleet.during(5_000);
  expect(owner.reading.size).toBe(4);
  const joined = fleet.start(options.joins);
  await fleet.during(100);
  return { ...fleet, owner, joined };
}

const asks = ({ said }: Worker) => said.filter((word) => word.startsWith('ask'));

describe('a lease of a living worker of weir', () => {
  it('is asked for, and handed over behind what is under way; then the next', async () => {
    const { truth, owner, joined, during, end } = await joinOne();
    // One at a time.
    expect(asks(joined)).toHaveLength(1);
    expect(owner.reading.size).toBe(4);
    await during(4_000);
    expect([owner.reading.size, joined.reading.size]).toEqual([2, 2]);
    for (const { lease } of joined.reading.values()) expect(lease.checkpoint.sequence).toBe('4968');
    for (const { owner: name, ownerSwitches } of await truth.list()) {
      if (name === joined.name) expect(ownerSwitches).toBe(1);
    }
    await during(20 * failoverMs);
    expect(joined.events).toEqual(['received', 'received']);
    expect(owner.events).toEqual(['taken', 'taken', 'taken', 'taken', 'handed', 'handed']);
    expect([owner.said.length, joined.said.length]).toEqual([2, 2]);
    await end();
  });

  it.each([
    ['does not hear of it', { isDeaf: true }],
    ['does not finish with it', { isStuck: true }],
  ])('is stolen once its owner has had its time, where that %s', async (_what, isDeafOrStuck) => {
    const { owner, joined, during, end } = await joinOne({ owner: isDeafOrStuck });
    await during(patienceMs(failoverMs) - 200);
    expect(joined.events).toEqual([]);
    await during(300);
    expect(joined.events).toEqual(['stolen']);
    // It is told so no later than by its next look.
    await during(0.5 * failoverMs);
    expect(owner.events.filter((kind) => kind === 'lost')).toHaveLength(1);
    // The next one is asked for as well.
    expect(asks(joined)).toHaveLength(2);
    await end();
  });

  it('is stolen as soon as possible once that time is over, also where its owner gets a renewal in between', async () => {
    const { truth, owner, joined, during, beforeTake, end } = await joinOne({ owner: { isDeaf: true } });
    await during(patienceMs(failoverMs) - 200);
    const [key] = asks(joined)[0].split(' ').slice(1);
    let renewals = 0;
    beforeTake.work = async () => {
      if (renewals++ === 0) await owner.reading.get(key)!.make({ kind: 'renew' });
    };
    await during(0.1 * failoverMs + 300);
    expect([renewals, joined.events]).toEqual([2, ['stolen']]);
    expect((await truth.read(key))?.owner).toBe(joined.name);
    await end();
  });

  it('is stolen at once where the other one cannot ask', async () => {
    const { joined, end } = await joinOne({ joins: { hasWords: false } });
    expect(joined.events).toEqual(['stolen']);
    await end();
  });

  it('goes to the first of two that ask for it, and the other asks for another one', async () => {
    const { truth, owner, joined, start, during, owners, end } = await joinOne();
    const third = start();
    // It hears of both before it has finished.
    const [key] = owner.reading.keys();
    owner.coordinator.asked(key, third.name);
    owner.coordinator.asked(key, joined.name);
    await during(2_000);
    expect((await truth.read(key))?.owner).toBe(third.name);
    await during(3 * failoverMs);
    const found = await owners();
    const counts = [owner, joined, third].map(({ name }) => found.filter((one) => one === name).length);
    expect(counts.sort()).toEqual([1, 1, 2]);
    expect([owner, joined, third].flatMap(({ events }) => events)).not.toContain('stolen');
    await end();
  });

  it('is evicted where its owner leaves meanwhile, for whoever comes first', async () => {
    const { owner, joined, during, owners, end } = await joinOne({ owner: { isStuck: true } });
    owner.stop();
    await during(0.9 * failoverMs);
    expect(await owners()).toEqual(Array(4).fill(joined.name));
    expect(joined.events).toEqual(Array(4).fill('taken'));
    await end();
  });

  it('is evicted by an owner that leaves before it has finished: who has asked may leave as well, unheard', async () => {
    const { owner, joined, during, owners, end } = await joinOne({ owner: { isDeaf: true } });
    owner.coordinator.asked(asks(joined)[0].split(' ')[1], joined.name);
    for (const { leaving } of [owner, joined]) leaving.abort();
    await during(1_000);
    expect(owner.events.slice(4)).toEqual(['evicted']);
    expect(await owners()).not.toContain(joined.name);
    await end();
  });

  it('is not handed over by one that is about to leave: it gives up all', async () => {
    const { owner, joined, end } = await joinOne();
    owner.leaving.abort();
    const [one] = owner.reading.values();
    owner.coordinator.asked(one.lease.key, joined.name);
    expect(one.recalled.aborted).toBe(false);
    await end();
  });

  it('is given to nobody who has long waited for it: that one has taken it, or is gone', async () => {
    const { owner, owners, during, end } = await joinOne({ owner: { isStuck: true }, joins: { hasWords: false } });
    const [key, one] = [...owner.reading][0];
    owner.coordinator.asked(key, nameOf(9));
    await during(patienceMs(failoverMs) + 100);
    await owner.coordinator.release(one);
    expect(await owners()).not.toContain(nameOf(9));
    await end();
  });

  it('that is not held any more is nobody to hand over', async () => {
    const { owner, joined, during, owners, end } = await joinOne();
    await during(4_000);
    const before = await owners();
    for (const key of joined.reading.keys()) owner.coordinator.asked(key, nameOf(9));
    await during(2_000);
    expect(await owners()).toEqual(before);
    await end();
  });

  it.each([
    ['handed over', 0],
    ['evicted, for who has asked waits no longer', patienceMs(failoverMs)],
  ])('is let go of where the table does not say whether it was %s', async (_what, tookMs) => {
    const { owner, joined, during, end } = await joinOne({ owner: { isStuck: true }, joins: { hasWords: false } });
    const [[key, one]] = owner.reading;
    owner.coordinator.asked(key, joined.name);
    await during(tookMs);
    owner.fault = new WeirError('BROKER', 'the table is out of reach');
    let isReleased = false;
    void owner.coordinator.release(one).then(() => {
      isReleased = true;
    });
    await during(1.5 * failoverMs);
    expect([isReleased, one.revoked.aborted, owner.events.includes('lost')]).toEqual([true, true, true]);
    owner.fault = undefined;
    await during(5 * failoverMs);
    expect([owner.reading.size, joined.reading.size]).toEqual([2, 2]);
    await end();
  });
});

describe('a lease that nobody reads yet', () => {
  it('is handed over at once', async () => {
    const parent = shardOf(0);
    const { truth, start, during, owners, end } = startFleet([parent, shardOf(4, [parent.id])]);
    await truth.write({ kind: 'create', lease: newLease(parent.id, { sequence: '7', sub: 0 }, [], parent.hashRange) });
    const child: Lease = newLease(shardOf(4).id, { sequence: 'TRIM_HORIZON', sub: 0 }, [parent.id], {
      start: '4',
      end: '4',
    });
    await truth.write({ kind: 'create', lease: child });
    const owner = start();
    await during(5_000);
    expect([...owner.reading.keys()]).toEqual([parent.id]);
    owner.coordinator.asked(child.key, nameOf(9));
    await during(100);
    expect((await owners())[1]).toBe(nameOf(9));
    expect(owner.events).toEqual(['taken', 'taken', 'handed']);
    await end();
  });
});

describe('who has asked for a lease and leaves', () => {
  it('takes that back, and evicts what it gets all the same', async () => {
    const { owner, joined, during, owners, end } = await joinOne({ owner: { isDeaf: true } });
    const [asked] = asks(joined);
    owner.coordinator.asked(asked.split(' ')[1], joined.name);
    joined.leaving.abort();
    expect(joined.said).toEqual([asked, asked.replace('ask', 'withdraw')]);
    await during(2_000);
    expect(await owners()).toContain(joined.name);
    joined.stop();
    await during(100);
    expect(await owners()).not.toContain(joined.name);
    expect(joined.events).toEqual(['evicted']);
    await end();
  });

  it('and ends at once is given nothing by an owner that was at work on it, and goes on', async () => {
    const { owner, joined, during, owners, end } = await joinOne();
    await during(600);
    expect([...owner.reading.values()].filter(({ recalled }) => recalled.aborted)).toHaveLength(1);
    joined.stop();
    await during(1_000);
    expect(owner.events.slice(4)).toEqual(['evicted', 'taken']);
    expect([owner.reading.size, await owners()]).toEqual([4, Array(4).fill(owner.name)]);
    await end();
  });

  it.each([
    ['before its owner hears of that', 0],
    ['while its owner hears of that', 600],
  ])('and is given it %s, has it taken back by that one', async (_what, givingMs) => {
    const { world, owner, joined, during, owners, beforeGive, end } = await joinOne();
    beforeGive.work = () => new Promise((resolve) => world.at(world.now + givingMs, resolve));
    await during(1_000);
    joined.stop();
    await during(1_000);
    expect(owner.events.slice(4)).toEqual(['handed', 'taken']);
    expect([owner.reading.size, await owners()]).toEqual([4, Array(4).fill(owner.name)]);
    await end();
  });

  it('keeps what it has taken all the same', async () => {
    const { truth, owner, joined, during, end } = await joinOne();
    await during(2_000);
    const [key] = joined.reading.keys();
    owner.coordinator.withdrawn(key, joined.name);
    await during(1_000);
    expect((await truth.read(key))?.owner).toBe(joined.name);
    await end();
  });
});
