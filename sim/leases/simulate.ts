import { compareCheckpoints, isInitial, isShardEnd } from '../../consumers/kinesis/checkpoint.ts';
import { patienceMs } from '../../consumers/kinesis/hand-over.ts';
import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import type { Lease } from '../../consumers/kinesis/lease.ts';
import type { LeaseChange } from '../../consumers/kinesis/lease-change.ts';
import { createLeaseCoordinator, type LeaseCoordinator } from '../../consumers/kinesis/lease-coordinator.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { hearWords, type LeaseWords, wordsThrough } from '../../consumers/kinesis/lease-words.ts';
import { isWeirWorker } from '../../consumers/kinesis/worker-name.ts';
import { describeError, WeirError } from '../../runtime/errors.ts';
import { type Random, seededRandom } from '../../runtime/random.ts';
import { beginAt } from './beginning.ts';
import { faultyTable, noFaults, type TableFaults } from './faulty-table.ts';
import { startJavaWorker } from './java-worker.ts';
import { createMailboxes } from './mailboxes.ts';
import { memoryLeaseTable } from './memory-table.ts';
import type { LeaseReport, LeaseSimulation } from './simulation.ts';
import { createStream } from './stream.ts';
import { createProcess, createWorld, type Process } from './world.ts';

export type { LeaseSimulation } from './simulation.ts';

export const failoverMs = 10_000;
const cutOff: TableFaults = { ...noFaults, lost: 1 };
/** A Java worker looks at the table as seldom, and takes one lease a look; two looks may fail. */
const javaLookMs = 6 * failoverMs;
const quietMs = 12 * failoverMs;
/** An owner looks at its clock this often, clocks that go slow by a hundredth. */
const renewalTickMs = 1_100;
const longestHeldMs = failoverMs * 1.02 + renewalTickMs;

const defaultFaults: TableFaults = { lost: 0.02, unanswered: 0.02, late: 0.01, twice: 0.02, stale: 0.2 };

export async function simulateLeases(simulation: LeaseSimulation): Promise<LeaseReport> {
  const { seed, troubledMs = 180_000, incidents = 20, askable = 8, initial = 'TRIM_HORIZON' } = simulation;
  const { javaWorkers = 0 } = simulation;
  const random = seededRandom(seed);
  const world = createWorld();
  const stream = createStream(simulation.shards ?? 1 + random.below(5), random);
  const violations: string[] = [];
  const events: Record<string, number> = {};
  const truth = simulation.mutateTable?.(memoryLeaseTable()) ?? memoryLeaseTable();
  let faults = simulation.faults ?? defaultFaults;
  // The owner falls silent just after it was heard of, and the others wait for one that would have less; failing requests take their
  // time limits on top.
  const orphanedLimitMs =
    2 * failoverMs + (simulation.faults === noFaults ? 0 : 20_000) + (javaWorkers > 0 ? javaLookMs : 0);
  // That a shard is gone is noticed when the stream's shards are compared with the leases, and of those that followed it then.
  const settlingMs = simulation.hasRetention || javaWorkers > 0 ? 1.5 * quietMs : quietMs;
  let published = 0;
  let repeated = 0;
  let requests = 0;
  const say = (what: string) => simulation.trace?.(`${(world.now / 1_000).toFixed(3)} ${what}`);
  const violated = (what: string) => {
    violations.push(`at ${Math.round(world.now)} ms: ${what}`);
    say(`VIOLATION ${what}`);
  };
  const workers: Worker[] = [];
  const hasLease = (id: string) => raisedAt.has(id);
  const beginning = beginAt(initial, stream, hasLease, violated, seededRandom(seed));
  /** When each worker last changed each lease, by both names. */
  const madeAt = new Map<string, number>();
  /** When each lease's counter last rose. */
  const raisedAt = new Map<string, number>();
  /** For how long a lease's owner had not been heard of when it was taken, by taker and lease. */
  const silentMs = new Map<string, number>();
  /** Who has checkpointed each lease's positions, in their order: from behind the one before through that one. */
  const writers = new Map<string, { readonly through: number; readonly by: string }[]>();
  const mailboxes = createMailboxes(world);
  /** When each worker asked for each lease, and through where each has published, by both names. */
  const askedAt = new Map<string, number>();
  const publishedBy = new Map<string, number>();
  /** Who has taken back which ask, and has neither asked anew nor taken the lease, by both names. */
  const withdrawn = new Set<string>();
  /** Who has handed over which lease, by both names. */
  const handedOver = new Set<string>();
  /** Shards that an owner has said to be read to their end. */
  const ended = new Set<string>();
  /** When a lease last changed hands among the living: who has given one away for its load has yet to take another back. */
  let movedAt = Number.NEGATIVE_INFINITY;
  /** When a lease was last tidied away: the shares are even again some looks later. */
  let deletedAt = Number.NEGATIVE_INFINITY;
  /** The leases of the last second, oldest first. */
  const before: (readonly Lease[])[] = [[]];

  interface Worker {
    readonly name: string;
    readonly process: Process;
    /** Until when none of its requests arrives. */
    cutOffUntil: number;
    readonly leaving: AbortController;
    readonly hasWords: boolean;
    /** Leases that it is at work on, by shard. */
    readonly reading: Map<string, unknown>;
  }

  /** The table itself, which knows who writes and sees that only owners do. */
  function watchedTable(name: string): LeaseTable {
    return {
      ...truth,
      async write(change) {
        requests++;
        const before = await truth.read(change.lease.key);
        const isMade = await truth.write(change);
        if (isMade && change.kind === 'create') begun(change.lease.key);
        if (isMade && before !== undefined) judge(name, before, change, await truth.list());
        return isMade;
      },
    };
  }

  /** Perhaps anew, by one that had stood still since it looked. */
  function begun(key: string): void {
    writers.delete(key);
    raisedAt.set(key, world.now);
  }

  function judge(name: string, before: Lease, change: LeaseChange, leases: readonly Lease[]): void {
    const { key, owner } = before;
    if (change.kind === 'take') {
      const isOthers = owner !== undefined && owner !== name && !withdrawn.has(`${owner} ${key}`);
      if (isOthers && isWeirWorker(owner)) expectAsked(name, key);
      askedAt.delete(`${name} ${key}`);
      withdrawn.delete(`${name} ${key}`);
      handedOver.delete(`${name} ${key}`);
      publishedBy.delete(`${name} ${key}`);
      silentMs.set(`${name} ${key}`, isOthers ? world.now - raisedAt.get(key)! : failoverMs);
    }
    if (change.kind === 'give') expectFinished(name, before, change.owner);
    if (change.kind !== 'children') raisedAt.set(key, world.now);
    madeAt.set(`${name} ${key}`, world.now);
    if (change.kind === 'checkpoint' || change.kind === 'renew') {
      if (owner !== name) violated(`${name} made a ${change.kind} of ${key}, which ${owner} owns`);
      // It may take a lease anew that is its own still.
      silentMs.set(`${name} ${key}`, failoverMs);
    }
    if (change.kind === 'checkpoint' && isShardEnd(change.checkpoint)) ended.add(key);
    if (change.kind === 'checkpoint' && !isShardEnd(change.checkpoint) && !isInitial(change.checkpoint)) {
      if (ended.has(key) && isWeirWorker(name)) violated(`${name} reads ${key} once more, which was read to its end`);
      const through = Number(change.checkpoint.sequence);
      writers.set(key, [...(writers.get(key) ?? []), { through, by: name }]);
    }
    if (change.kind === 'checkpoint' && compareCheckpoints(change.checkpoint, before.checkpoint) < 0) {
      violated(`the checkpoint of ${key} went back from ${before.checkpoint.sequence}`);
    }
    if (change.kind !== 'delete') return;
    deletedAt = world.now;
    if (stream.shards.get(key)!.isGone || beginning.isBefore(key)) return;
    if (!ended.has(key)) violated(`${key} was deleted before its end`);
    const children = stream.children(key).map(({ id }) => leases.find((lease) => lease.key === id));
    if (children.some((child) => child !== undefined && isInitial(child.checkpoint))) {
      violated(`${key} was deleted before its children are read`);
    }
  }

  /** What the library does by itself is not judged: it may read a lease that is made anew. */
  function startJava(): void {
    const name = `java-${workers.length}`;
    const process = createProcess(world, 0.99 + 0.02 * random.next(), 1e6 * random.next());
    const own = seededRandom(random.below(2 ** 31));
    const leaving = new AbortController();
    const worker: Worker = { name, process, cutOffUntil: 0, leaving, hasWords: false, reading: new Map() };
    workers.push(worker);
    startJavaWorker({
      ...worker,
      table: faultyTable(watchedTable(name), process, world, faultsOf(worker), () => before[0], own),
      stream,
      failoverMs,
      clock: process.clock,
      random: own,
      leaving: leaving.signal,
      isRunning: () => process.isRunning,
      publish: (id, from, to) => publish(worker, id, from, to),
      onTaken: ({ key }) => say(`${name}: takes ${key}`),
    });
  }
  const faultsOf = (worker: Worker) => () => (world.now < worker.cutOffUntil ? cutOff : faults);

  function start(): void {
    const name = `worker:${String(workers.length).padStart(12, '0')}`;
    // A hundredth is far more than quartz is off by.
    const process = createProcess(world, 0.99 + 0.02 * random.next(), 1e6 * random.next());
    const own = seededRandom(random.below(2 ** 31));
    const hasWords = own.below(10) < askable;
    const leaving = new AbortController();
    const worker: Worker = { name, process, cutOffUntil: 0, leaving, hasWords, reading: new Map() };
    const faultsNow = faultsOf(worker);
    const mailbox = hasWords ? mailboxes.open(process, faultsNow, own) : undefined;
    const coordinator = createLeaseCoordinator({
      table: faultyTable(watchedTable(name), process, world, faultsNow, () => before[0], own),
      shards: {
        list: async (which) => (which === 'all' ? stream.listed() : beginning.shards()).map((shard) => ({ ...shard })),
        isGone: async (id) => stream.shards.get(id)!.isGone,
      },
      worker: name,
      failoverMs,
      shardSyncMs: 60_000,
      maxLeases: 1_000,
      checkpointMs: 200,
      initial,
      clock: process.clock,
      random: own,
      leaving: leaving.signal,
      words: mailbox && noting(name, wordsThrough(mailbox, name)),
      onReady: (held) => void read(worker, held, coordinator, own).catch((error) => violated(describeError(error))),
      onEvent(event) {
        const { kind } = event;
        events[kind] = (events[kind] ?? 0) + 1;
        if (kind === 'stolen' || kind === 'received') movedAt = world.now;
        say(`${name}: ${kind} ${event.kind === 'trouble' ? describeError(event.error) : event.lease.key}`);
        if (event.kind === 'taken') expectExpired(name, event.lease.key);
      },
    });
    workers.push(worker);
    if (mailbox !== undefined) hearWords(mailbox, name, coordinator);
    coordinator
      .run(worker.leaving.signal)
      .catch((error: unknown) => violated(`${name} ended: ${describeError(error)}`));
  }

  function noting(name: string, words: LeaseWords): LeaseWords {
    return {
      ...words,
      ask(owner, key) {
        say(`${name}: asks ${owner} for ${key}`);
        askedAt.set(`${name} ${key}`, world.now);
        withdrawn.delete(`${name} ${key}`);
        words.ask(owner, key);
      },
      withdraw(owner, key) {
        say(`${name}: asks ${owner} for ${key} no more`);
        withdrawn.add(`${name} ${key}`);
        words.withdraw(owner, key);
      },
    };
  }

  /** Who can ask steals from no living worker that it has not asked, and given time. */
  function expectAsked(name: string, key: string): void {
    if (world.now - raisedAt.get(key)! >= failoverMs / 1.02 || !workers.find((one) => one.name === name)?.hasWords)
      return;
    const forMs = world.now - (askedAt.get(`${name} ${key}`) ?? world.now);
    if (forMs < patienceMs(failoverMs) / 1.02)
      violated(`${name} stole ${key}, asked for ${Math.round(forMs)} ms before`);
  }

  /** A lease is handed over where its owner has published to, to who asked for it. */
  function expectFinished(name: string, { key, owner, checkpoint }: Lease, to: string): void {
    if (owner !== name) violated(`${name} handed over ${key}, which ${owner} owns`);
    if (!askedAt.has(`${to} ${key}`)) violated(`${name} handed ${key} over to ${to}, which has not asked for it`);
    handedOver.add(`${name} ${key}`);
    const through = publishedBy.get(`${name} ${key}`);
    if (through === undefined || isShardEnd(checkpoint) || Number(checkpoint.sequence) === through) return;
    violated(`${name} handed over ${key} at ${checkpoint.sequence}, published through ${through}`);
  }

  /** Clocks differ by two hundredths at most. */
  function expectExpired(name: string, key: string): void {
    const forMs = silentMs.get(`${name} ${key}`)!;
    if (forMs < failoverMs / 1.02) {
      violated(`${name} took ${key} as expired, ${Math.round(forMs)} ms after its owner was heard of`);
    }
  }

  /** An owner lets go by its own clock; one that has just woken up has yet to look at it. */
  function expectHeld({ name, process }: Worker, key: string): void {
    const forMs = world.now - (madeAt.get(`${name} ${key}`) ?? world.now);
    if (forMs > longestHeldMs && world.now - process.wokeAt > renewalTickMs) {
      violated(`${name} reads ${key}, which it has not renewed for ${Math.round(forMs)} ms`);
    }
  }

  /** What a former owner still stores must be its own, and committed. */
  function store({ name }: Worker, key: string, through: number): void {
    const writer = writers.get(key)?.find((one) => one.through >= through);
    if (writer?.by !== name) {
      violated(`${name} stored state of ${key} through ${through}, which ${writer?.by ?? 'nobody'} has checkpointed`);
    }
  }

  /** What a source does with a lease: read, publish, checkpoint, to the shard's end. */
  async function read(worker: Worker, held: HeldLease, coordinator: LeaseCoordinator, own: Random): Promise<void> {
    const shard = stream.shards.get(held.lease.key)!;
    const { checkpoint } = held.lease;
    worker.reading.set(shard.id, held);
    try {
      let position = isInitial(checkpoint) ? await beginning.of(held) : Number(checkpoint.sequence);
      while (!held.revoked.aborted) {
        await worker.process.clock.sleep(50 + own.below(300));
        if (held.revoked.aborted || !worker.process.isRunning) continue;
        if (held.recalled.aborted) return await coordinator.release(held);
        if (shard.isGone && position < shard.records) continue;
        const next = Math.min(shard.records, position + 1 + own.below(30));
        if (next > position) {
          held.read((next - position) * 1_024);
          publish(worker, shard.id, position, next);
          position = next;
          // Checkpoints come behind what is published.
          await worker.process.clock.sleep(own.below(200));
          await held.make({ kind: 'checkpoint', checkpoint: { sequence: String(position), sub: 0 } });
          await expectKept(held.lease.key, position);
          const stored = position;
          worker.process.later(own.below(500), () => store(worker, shard.id, stored));
        } else if (!shard.isOpen) {
          await coordinator.end(held, stream.children(shard.id));
          return;
        }
      }
    } catch (error) {
      if (!(error instanceof WeirError) || (error.code !== 'FENCED' && error.code !== 'BROKER')) throw error;
      // What a source does when the table is silent: it waits for the lease to be lost or to come back.
      held.lose();
    } finally {
      if (worker.reading.get(shard.id) === held) worker.reading.delete(shard.id);
    }
  }

  function publish(worker: Worker, id: string, from: number, to: number): void {
    const shard = stream.shards.get(id)!;
    expectHeld(worker, id);
    if (handedOver.has(`${worker.name} ${id}`)) violated(`${worker.name} reads ${id}, which it has handed over`);
    publishedBy.set(`${worker.name} ${id}`, to);
    for (const parent of shard.parents.filter((key) => !isDone(key)))
      violated(`${worker.name} began ${id} before the end of its parent ${parent}`);
    if (from > shard.published) violated(`${worker.name} left out records of ${id}: ${shard.published} to ${from}`);
    published += Math.max(0, to - Math.max(from, shard.published));
    repeated += Math.max(0, Math.min(to, shard.published) - from);
    shard.published = Math.max(shard.published, to);
  }

  async function expectKept(key: string, position: number): Promise<void> {
    const found = (await truth.read(key))?.checkpoint;
    if (found !== undefined && compareCheckpoints(found, { sequence: String(position), sub: 0 }) < 0) {
      violated(`the checkpoint ${position} of ${key} was acknowledged and is not kept`);
    }
  }

  const alive = () => workers.filter(({ process, leaving }) => process.isRunning && !leaving.signal.aborted);

  /** Something happens to a worker or to the stream. */
  function incident(): void {
    const running = alive();
    const one = running[random.below(running.length)];
    const dice = random.below(9);
    // Who would have taken a lease next may be the one that is gone.
    if (dice < 4 || dice === 8) untouched.clear();
    say(`${['pause', 'cut off', 'crash', 'leave', 'start', 'merge', 'split', 'split', 'pause'][dice]} ${one?.name}`);
    if (dice === 0 || dice === 8) one?.process.pause(random.below(4 * failoverMs));
    else if (dice === 1 && one !== undefined) one.cutOffUntil = world.now + random.below(4 * failoverMs);
    else if (dice === 2 && running.length > 1) one.process.crash();
    else if (dice === 3 && running.length > 1) one.leaving.abort();
    else if (dice === 4 && running.length < 5) start();
    else if (dice === 5) stream.merge();
    else if (stream.open().length < 8) stream.split();
  }

  function expire(): void {
    const gone = stream.expire();
    if (gone === undefined) return;
    say(`gone ${gone.id}`);
  }

  /** Since when a shard has been in its owner's hands without being read: each owner's silence is to be noticed anew. */
  const untouched = new Map<string, { readonly owner?: string; readonly since: number }>();
  let longestOrphanedMs = 0;
  /** Watches, once in a while, for how long each shard that has something to be read is read by nobody who could. */
  async function watchOrphans(): Promise<void> {
    world.at(world.now + 500, () => void watchOrphans());
    const running = alive().filter(({ cutOffUntil }) => world.now >= cutOffUntil);
    const owners = new Map((await truth.list()).map(({ key, owner }) => [key, owner]));
    for (const shard of stream.shards.values()) {
      const owner = owners.get(shard.id);
      const isAttended = running.some(({ reading }) => reading.has(shard.id));
      const before = untouched.get(shard.id);
      if (
        running.length === 0 ||
        isWaiting(shard.id, (id) => owners.has(id)) ||
        isAttended ||
        isDone(shard.id) ||
        before === undefined ||
        before.owner !== owner
      ) {
        untouched.set(shard.id, { owner, since: world.now });
        continue;
      }
      const forMs = world.now - before.since;
      longestOrphanedMs = Math.max(longestOrphanedMs, forMs);
      if (forMs <= orphanedLimitMs) continue;
      violated(`${shard.id} of ${owner} has been read by nobody for ${Math.round(forMs)} ms`);
      untouched.set(shard.id, { owner, since: world.now });
    }
  }
  const isDone = (id: string) => {
    const { isOpen, records, published: all } = stream.shards.get(id)!;
    return !isOpen && (all === records || beginning.isBefore(id));
  };

  /** Until all that it came from is done with. */
  const isWaiting = (id: string, isLeased: (id: string) => boolean): boolean =>
    stream.shards.get(id)!.parents.some((parent) => {
      // Who has a shard that is gone notices once the stream's shards are compared with the leases.
      if (stream.shards.get(parent)!.isGone && isLeased(parent)) return true;
      return !isDone(parent) || isWaiting(parent, isLeased);
    });

  const appending = () => {
    stream.append();
    world.at(world.now + 300, appending);
  };
  if (simulation.hasRetention)
    for (let n = 0; n < incidents / 4; n++) world.at(30_000 + random.below(troubledMs), expire);
  const first = simulation.workers ?? 2 + random.below(3);
  for (let n = 0; n < first; n++) world.at(random.below(5_000), start);
  for (let n = 0; n < javaWorkers; n++) world.at(random.below(troubledMs / 2), startJava);
  appending();
  const remembering = async () => {
    world.at(world.now + 250, () => void remembering());
    before.push(await truth.list());
    if (before.length > 4) before.shift();
  };
  await remembering();
  world.at(5_000, () => void watchOrphans());
  for (let n = 0; n < incidents; n++) world.at(5_000 + random.below(troubledMs), incident);
  if (simulation.crashAtMs !== undefined) {
    await world.run(simulation.crashAtMs);
    alive()
      .reduce((a, b) => (b.reading.size > a.reading.size ? b : a))
      .process.crash();
  }
  await world.run(troubledMs);
  faults = noFaults;
  await world.run(troubledMs + (2 / 3) * settlingMs);
  const finished = await finishedLeases();
  const moves = () => (events.stolen ?? 0) + (events.received ?? 0);
  const { deleted = 0 } = events;
  const moved = moves();
  await world.run(troubledMs + settlingMs);
  // One lease less may leave somebody with less than a share, and what he steals, another one.
  if (moves() - moved > 2 + 2 * ((events.deleted ?? 0) - deleted)) violated('leases still change hands in the end');
  await expectSettled();
  const loads = await loadsOfLiving();
  for (const { process } of workers) process.crash();
  await world.run(world.now + 1);
  return {
    violations,
    events: events as LeaseReport['events'],
    longestOrphanedMs,
    published,
    repeated,
    requests,
    loads,
  };

  async function loadsOfLiving(): Promise<number[]> {
    const leases = await truth.list();
    const loadOf = (name: string) =>
      leases.filter(({ owner }) => owner === name).reduce((sum, { throughputKBps = 0 }) => sum + throughputKBps, 0);
    return alive().map(({ name }) => loadOf(name));
  }

  /**
   * The keys of leases that have served their turn. One whose children have had no record yet stays, and so do its own children; one whose children's
   * leases were made anew and tidied away stays until its shard has left the stream.
   */
  async function finishedLeases(): Promise<string[]> {
    const leases = await truth.list();
    const has = (id: string, test: (lease: Lease) => boolean) =>
      leases.some((lease) => lease.key === id && test(lease));
    const isNeeded = (id: string): boolean =>
      stream.shards.get(id)!.isOpen ||
      (!stream.shards.get(id)!.isGone && stream.children(id).every((child) => !has(child.id, () => true))) ||
      stream.children(id).some((child) => has(child.id, ({ checkpoint }) => isInitial(checkpoint))) ||
      stream.shards.get(id)!.parents.some((parent) => has(parent, () => true));
    return leases.map(({ key }) => key).filter((key) => !isNeeded(key));
  }

  /** After a quiet time every shard is read, the shares are even, and what is done with is tidied away. */
  async function expectSettled(): Promise<void> {
    const leases = await truth.list();
    const running = alive().map(({ name }) => name);
    const open = stream.open().map(({ id }) => id);
    const unread = open.filter((id) => !alive().some(({ reading }) => reading.has(id)));
    if (unread.length > 0) violated(`in the end nobody reads ${unread.join(', ')}`);
    const left = leases.filter(({ key }) => finished.includes(key)).map(({ key }) => key);
    if (left.length > 0) violated(`in the end the leases of ${left.join(', ')} are left`);
    if (world.now - Math.max(deletedAt, movedAt) < 2 * failoverMs) return;
    const share = Math.ceil(leases.length / running.length);
    for (const name of running) {
      const has = leases.filter(({ owner }) => owner === name).length;
      if (has > share)
        violated(`in the end ${name} has ${has} leases of ${leases.length}, among ${running.length} workers`);
    }
  }
}
