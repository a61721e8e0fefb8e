import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { StateStore } from '../../features/store.ts';
import { batchOf, createProcess, delayedTerminals, heldStore, minute } from '../support/feature-process.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a partition that is gained or lost', () => {
  it('costs nothing for the entities of a partition that stays', async () => {
    const { store } = heldStore();
    const { engine, apply, flush, lookups } = createProcess(store, 100, 'card');
    engine.gain('t:0', 4);
    await apply('t:0', batchOf([0]), 'card.count.1h');
    await flush('t:0');
    engine.gain('t:1', 4);
    engine.lose('t:1');
    engine.gain('t:2', 4);
    expect(await apply('t:0', batchOf([1]), 'card.count.1h')).toEqual([2]);
    expect(lookups).toEqual({ hits: 1, misses: 1 });
  });

  it('has what it shares with others asked for once, by its version', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply, flush, tick } = createProcess(store, 100, 'card');
    engine.gain('t:0', 4);
    await apply('t:0', batchOf([0], 'c', 'x'), 'terminal.count.1h');
    await flush('t:0');
    tick(101);
    await apply('t:0', batchOf([1], 'c', 'x'), 'terminal.count.1h');
    const before = await loaded(10, apply, held, hold);
    expect(before).toEqual([]);
    engine.gain('t:1', 4);
    expect(await loaded(11, apply, held, hold)).toEqual([{ type: 'terminal', id: 'x', version: 1 }]);
    expect(await loaded(12, apply, held, hold)).toEqual([]);
  });

  it('is read anew when it comes back: what was applied but never published is gone', async () => {
    const { store } = heldStore();
    const { engine, apply, flush } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    await apply('t:0', batchOf([0, 1]), 'card.count.1h');
    await flush('t:0');
    expect(await apply('t:0', batchOf([2, 3]), 'card.count.1h')).toEqual([3, 4]);
    engine.lose('t:0');
    engine.gain('t:0', 2);
    expect(await apply('t:0', batchOf([2]), 'card.count.1h')).toEqual([3]);
  });

  it('is read anew also where its copy was at hand, which the store may have lost', async () => {
    const { store } = heldStore();
    const [one, two] = [createProcess(store), createProcess(store)];
    two.engine.gain('t:1', 2);
    await two.apply('t:1', batchOf([0]), 'card.count.1h');
    await two.flush('t:1');
    one.engine.gain('t:0', 2);
    expect(await one.apply('t:0', batchOf([1]), 'card.count.1h')).toEqual([2]);
    await one.flush('t:0');
    await store.discard('t:1', { type: 'card', id: 'c' });
    one.engine.gain('t:1', 2);
    const again = batchOf([0]);
    one.engine.replay(again, await one.engine.load(again, 't:1'), 't:1');
    expect(one.engine.takeChanges('t:1', 1).changes).toMatchObject([{ type: 'card', id: 'c', offset: 1 }]);
  });

  it('leaves nothing of a tenure that ended while a load was due and failed', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply } = createProcess(store);
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    await apply('t:0', batchOf([0]), 'card.count.1h');
    await apply('t:1', batchOf([1]), 'card.count.1h');
    engine.lose('t:0');
    hold(true);
    const failing = engine.load(batchOf([2]), 't:1');
    const outcome = Promise.allSettled([failing]);
    await settled();
    held[0].fail(new Error('away'));
    expect(await outcome).toMatchObject([{ status: 'rejected' }]);
    hold(false);
    engine.lose('t:1');
    engine.gain('t:1', 2);
    expect(await apply('t:1', batchOf([1]), 'card.count.1h')).toEqual([1]);
  });

  it('is not scored any more by a former owner who finds out that somebody else has gone on with it', async () => {
    const { store } = heldStore();
    const [former, owner] = [createProcess(store), createProcess(store)];
    former.engine.gain('t:0', 2);
    owner.engine.gain('t:0', 2);
    await owner.apply('t:0', batchOf([0, 1, 2]), 'card.count.1h');
    await owner.flush('t:0');
    await expect(former.apply('t:0', batchOf([1]), 'card.count.1h')).rejects.toMatchObject({ code: 'FENCED' });
    former.engine.lose('t:0');
    former.engine.gain('t:0', 2);
    expect(await former.apply('t:0', batchOf([3]), 'card.count.1h')).toEqual([4]);
  });

  it('leaves no mark, and is not taken for lost, once it has asked for its fence, by which it goes from then on', async () => {
    const { store } = heldStore();
    let lost: readonly string[] | undefined = ['t:1'];
    const lossy: StateStore = {
      ...store,
      load: async (...asked) => (await store.load(...asked)).map((of) => (lost === undefined ? of : { ...of, lost })),
    };
    const { engine, apply, tick } = createProcess(lossy, 100, 'card');
    for (const partition of ['t:0', 't:1']) engine.gain(partition, 2);
    expect(await apply('t:0', batchOf([0], 'c', 'x'), 'terminal.count.1h')).toEqual(['1 stale']);
    expect(await apply('t:0', batchOf([1], 'c', 'y'), 'terminal.count.1h')).toEqual(['1 stale']);
    const own = engine.load(batchOf([0], 'd', 'z'), 't:1');
    await expect(own).rejects.toMatchObject({ code: 'STORE' });
    lost = undefined;
    tick(1);
    expect(await apply('t:1', batchOf([0], 'd', 'x'), 'terminal.count.1h')).toEqual([2]);
    tick(101);
    expect(await apply('t:0', batchOf([2], 'c', 'y'), 'terminal.count.1h')).toEqual([2]);
  });

  it('is no reason to ask again for what others have no part in, while its state is lost', async () => {
    const { store } = heldStore();
    const load: StateStore['load'] = async (...asked) =>
      (await store.load(...asked)).map((of) => ({ ...of, lost: ['t:1'] }));
    const { engine, apply, lookups, tick } = createProcess({ ...store, load }, 100, 'card');
    engine.gain('t:0', 2);
    expect(await apply('t:0', batchOf([0]), 'card.count.1h')).toEqual([1]);
    tick(101);
    expect(await apply('t:0', batchOf([1]), 'card.count.1h')).toEqual([2]);
    expect(lookups.misses).toBe(1);
  });

  it('is no sign of moved keys while its last batch is under way', async () => {
    const { store, held, hold } = heldStore();
    const former = createProcess(store, 100, 'card');
    former.engine.gain('t:1', 4);
    await former.apply('t:1', batchOf([0], 'd'), 'card.count.1h');
    await former.flush('t:1');
    const { engine, apply, lookups, tick } = createProcess(store, 100, 'card');
    engine.gain('t:0', 4);
    engine.gain('t:1', 4);
    await apply('t:0', batchOf([0]), 'card.count.1h');
    hold(true);
    const last = engine.load(batchOf([1], 'd'), 't:1');
    await settled();
    engine.lose('t:1');
    hold(false);
    for (const { answer } of held) answer();
    (await last).release();
    const { misses } = lookups;
    tick(101);
    await apply('t:0', batchOf([1]), 'card.count.1h');
    expect(lookups.misses).toBe(misses);
  });

  it('uses a copy of what has only delayed features until the frontiers say that it misses something', async () => {
    const { store } = heldStore();
    const [one, two] = [0, 1].map(() => createProcess(store, 100, 'card', delayedTerminals));
    const name = 'terminal.count.1h.delay-2h';
    one.engine.gain('t:0', 2);
    two.engine.gain('t:1', 2);
    const storedOfTwo = async (at: number) => {
      two.engine.frontiers.say('t:1', at * minute, 'reading');
      await two.apply('t:1', batchOf([at], 'd', 'x'), name);
      await two.flush('t:1');
      await one.engine.frontiers.learn();
    };
    const countAt = async (at: number) => {
      const { misses } = one.lookups;
      const [value] = await one.apply('t:0', batchOf([at], '', 'x'), name);
      return { value, isLoaded: one.lookups.misses > misses };
    };
    await storedOfTwo(0);
    await storedOfTwo(60);
    expect(await countAt(120)).toEqual({ value: 1, isLoaded: true });
    await storedOfTwo(70);
    one.tick(101);
    // Copied when the other stood at 60, which is read from minute 180 on.
    expect(await countAt(179)).toEqual({ value: 1, isLoaded: false });
    expect(await countAt(180)).toEqual({ value: 1, isLoaded: true });
    await storedOfTwo(80);
    expect(await countAt(189)).toEqual({ value: 1, isLoaded: false });
    expect(await countAt(190)).toEqual({ value: 2, isLoaded: true });
    one.tick(10_001);
    expect(await countAt(191)).toEqual({ value: 2, isLoaded: true });
  });

  it('stores what it found stored beyond the fence once more: the store may lose it before the fence has come there', async () => {
    const { store } = heldStore();
    const [former, owner] = [createProcess(store), createProcess(store)];
    former.engine.gain('t:0', 2);
    await former.apply('t:0', batchOf([0, 1], 'c', 'x'), 'card.count.1h');
    await former.flush('t:0');
    owner.engine.gain('t:0', 2);
    const again = batchOf([0], 'c', 'x');
    owner.engine.replay(again, await owner.engine.load(again, 't:0'), 't:0');
    const { changes } = owner.engine.takeChanges('t:0', 1);
    expect(changes.map(({ type, id, offset }) => [type, id, offset])).toEqual([
      ['card', 'c', 2],
      ['terminal', 'x', 2],
    ]);
  });

  it('tells the store what its state has been seen to reach, of those alone that still have an owner', async () => {
    const { store } = heldStore();
    let watched: ReadonlyMap<string, number> | undefined;
    const spied: StateStore = {
      ...store,
      load: (requests, owned, of) => {
        if (of !== undefined) watched = of;
        return store.load(requests, owned, of);
      },
    };
    const [one, two] = [createProcess(spied), createProcess(store)];
    two.engine.gain('t:2', 4);
    two.engine.frontiers.say('t:2', 0, 'reading');
    const { changes } = two.engine.takeChanges('t:2', 17);
    await store.flush('t:2', changes, 17);
    one.engine.gain('t:0', 4);
    await one.engine.learnOthers();
    await one.apply('t:0', batchOf([0]), 'card.count.1h');
    expect(Object.fromEntries(watched!)).toEqual({ 't:0': -1, 't:1': -1, 't:2': 17, 't:3': -1 });
    // What has been read to its end is nobody's: its fence goes by itself, and that is no loss.
    one.engine.counted(4, [0, 2]);
    await one.apply('t:0', batchOf([1], 'd'), 'card.count.1h');
    expect(Object.fromEntries(watched!)).toEqual({ 't:0': -1, 't:2': 17 });
    // Nobody else has anything left: what is in memory need not be read again.
    one.engine.counted(4, [0]);
    one.tick(101);
    const { misses } = one.lookups;
    await one.apply('t:0', batchOf([2], 'd'), 'card.count.1h');
    expect(one.lookups.misses).toBe(misses);
  });

  it('of a topic that has grown makes a process ask for its key entity, which others may have from now on', async () => {
    const { store } = heldStore();
    const [old, grown] = [createProcess(store, 100, 'card'), createProcess(store, 100, 'card')];
    old.engine.gain('t:0', 1);
    await old.apply('t:0', batchOf([0]), 'card.count.1h');
    old.engine.counted(2);
    grown.engine.gain('t:1', 2);
    await grown.apply('t:1', batchOf([1]), 'card.count.1h');
    await grown.flush('t:1');
    old.tick(101);
    // Some producer had not noticed yet.
    expect(await old.apply('t:0', batchOf([2]), 'card.count.1h')).toEqual([3]);
  });

  it('makes the entities of moved keys stale only once it is known to be behind', async () => {
    const { store } = heldStore();
    const { engine, apply } = createProcess(store, 100, 'card');
    engine.gain('t:0', 1);
    engine.counted(2);
    engine.recovering('t:1', true);
    engine.gain('t:1', 2);
    expect(await apply('t:0', batchOf([0], 'c', 'x'), 'card.count.1h')).toEqual([1]);
    expect(await apply('t:0', batchOf([1], 'c', 'x'), 'terminal.count.1h')).toEqual(['2 stale']);
    const behind = batchOf([0], 'd');
    engine.replay(behind, await engine.load(behind, 't:1'), 't:1');
    expect(await apply('t:0', batchOf([2]), 'card.count.1h')).toEqual(['3 stale']);
    engine.recovering('t:1', false);
    expect(await apply('t:0', batchOf([3]), 'card.count.1h')).toEqual([4]);
  });

  it('leaves all values equal to brute force, whatever moves, is lost, comes back or is never published', async () => {
    const partition = fc.integer({ min: 0, max: 2 });
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('feed' as const), partition, count: fc.integer({ min: 1, max: 3 }) }),
      },
      fc.record({
        kind: fc.constantFrom('flush' as const, 'fail' as const, 'move' as const),
        partition,
        count: fc.constant(1),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const fleet = createFleet();
        for (const { kind, partition, count } of steps) await fleet[kind](partition, count);
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});

type Process = ReturnType<typeof createProcess>;

/** What a batch makes the process ask the store for. */
async function loaded(
  offset: number,
  apply: Process['apply'],
  held: ReturnType<typeof heldStore>['held'],
  hold: (on: boolean) => boolean,
): Promise<object[]> {
  const before = held.length;
  hold(true);
  const applied = apply('t:0', batchOf([offset], 'c', 'x'), 'terminal.count.1h');
  await settled();
  hold(false);
  const asked = held.slice(before).flatMap(({ requests }) => requests);
  for (const { answer } of held.slice(before)) answer();
  await applied;
  return [...asked];
}

interface Logged {
  readonly card: string;
  readonly time: number;
}

/** Two processes that share three partitions of one terminal's events; every value is held against the logs. */
function createFleet() {
  const { store } = heldStore();
  const processes = [0, 1].map(() => createProcess(store, 6, 'card'));
  const logs = [0, 1, 2].map((partition) => ({
    name: `t:${partition}`,
    owner: partition % 2,
    events: [] as Logged[],
    stored: 0,
  }));
  let time = 0;
  for (const { name, owner } of logs) processes[owner].engine.gain(name, 3);

  const batchFrom = (events: readonly Logged[], first: number) => {
    const batch = batchOf(events.map((_, n) => first + n));
    const cards = events.map(({ card }) => card);
    return {
      ...batch,
      times: Float64Array.from(events, (event) => event.time),
      entityIds: [cards, events.map(() => 'x')],
    };
  };
  const newEvents = (partition: number, count: number): Logged[] =>
    Array.from({ length: count }, () => ({ card: `${partition}-${time % 4}`, time: ++time }));

  /** Own events, and those of others as far as they are stored. */
  function wanted(partition: number, events: readonly Logged[], feature: string): number[] {
    const log = logs[partition];
    return events.map((event, n) => {
      const own = [...log.events, ...events.slice(0, n + 1)];
      if (feature.startsWith('card')) return own.filter(({ card }) => card === event.card).length;
      const others = logs.filter((other) => other !== log);
      const known = others.map(({ owner, events: all, stored }) => (owner === log.owner ? all.length : stored));
      return own.length + known.reduce((sum, count) => sum + count, 0);
    });
  }

  async function take(partition: number, to: number): Promise<void> {
    const log = logs[partition];
    processes[log.owner].engine.lose(log.name);
    log.owner = to;
    const { engine } = processes[to];
    engine.gain(log.name, 3);
    const missing = log.events.slice(log.stored);
    const batch = batchFrom(missing, log.stored);
    engine.replay(batch, await engine.load(batch, log.name), log.name);
  }

  async function applied(partition: number, events: readonly Logged[]): Promise<void> {
    const log = logs[partition];
    const { apply, tick } = processes[log.owner];
    tick(101);
    const feature = time % 2 === 0 ? 'card.count.1h' : 'terminal.count.1h';
    const values = await apply(log.name, batchFrom(events, log.events.length), feature);
    expect(values).toEqual(wanted(partition, events, feature));
  }

  return {
    async feed(partition: number, count: number) {
      const events = newEvents(partition, count);
      await applied(partition, events);
      logs[partition].events.push(...events);
    },
    async flush(partition: number) {
      const log = logs[partition];
      await processes[log.owner].flush(log.name);
      log.stored = log.events.length;
    },
    /** A batch that is applied, but whose publication fails: the partition begins again, here or elsewhere. */
    async fail(partition: number) {
      await applied(partition, newEvents(partition, 2));
      await take(partition, time % 2);
    },
    move: (partition: number) => take(partition, 1 - logs[partition].owner),
  };
}
