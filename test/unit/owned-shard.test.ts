import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isOrigin, readPositions, writePositions } from '../../consumers/kinesis/positions.ts';
import { type Wanted, wantedPlace } from '../../consumers/kinesis/wanted-place.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';
import {
  emptyGroup,
  emptyStore,
  entityOf,
  type Group,
  type GroupedStore,
  ownUntilEnd,
} from '../support/shard-owner.ts';
import { createShardWorld, type ShardWorld } from '../support/shard-world.ts';

class Crash extends Error {
  override readonly message = 'crash';
}

/** What happens to a shard, its lease and its store between two owners. */
const event = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('append' as const), records: fc.integer({ min: 1, max: 9 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('own' as const), crashAfter: fc.integer({ min: 1, max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), records: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kcl' as const), records: fc.integer({ min: 1, max: 12 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('set back' as const), records: fc.integer({ min: 1, max: 12 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('reset' as const),
      wanted: fc.oneof(
        fc.record({ to: fc.constantFrom('earliest' as const, 'latest' as const) }),
        fc.record({ time: fc.integer({ min: 0, max: 60_000 }) }),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), group: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fall back' as const), group: fc.nat(2), by: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose all' as const) }) },
);
const owned = (min: number, max: number) =>
  fc.record({ kind: fc.constant('own' as const), crashAfter: fc.integer({ min, max }) });
/** Much is made again from a log that is cut within it. */
const remade = fc
  .tuple(
    fc.record({ kind: fc.constant('append' as const), records: fc.integer({ min: 10, max: 60 }) }),
    owned(60, 600),
    fc.record({ kind: fc.constant('lose' as const), group: fc.nat(2) }),
    fc.record({ kind: fc.constant('trim' as const), records: fc.integer({ min: 1, max: 30 }) }),
    fc.array(fc.oneof({ weight: 3, arbitrary: owned(1, 60) }, event), { maxLength: 8 }),
  )
  .map(([append, first, lose, trim, others]) => [append, first, lose, trim, ...others]);
const story = fc.record({
  initial: fc.constantFrom('TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'),
  before: fc.nat(10),
  seed: fc.nat(),
  /** The calls of the log, since the last attempt to begin, before which retention goes on by a record, if the log is cut at all. */
  cutBefore: fc.subarray(Array.from({ length: 16 }, (_, call) => call)),
  events: fc.oneof(fc.array(event, { minLength: 3, maxLength: 40 }), remade),
});
type Story = typeof story extends fc.Arbitrary<infer Value> ? Value : never;

interface Told {
  readonly world: ShardWorld;
  readonly store: GroupedStore;
  readonly numbers: ReadonlyMap<string, ReadonlySet<number>>;
}

/** What retention deletes: nothing, only what is done with, or anything. */
type Cuts = 'none' | 'done' | 'any';

/** Lets it all happen, and then one owner live to the end. */
async function tell({ initial, before, seed, cutBefore, events }: Story, cuts: Cuts): Promise<Told> {
  const random = seededRandom(seed);
  const world = createShardWorld(initial);
  const store = emptyStore();
  const snapshots: Group[][] = [store.groups];
  const numbers = new Map<string, Set<number>>();
  const startsAt = 1_000 * (before + 1);
  const append = (count: number) => {
    for (let k = 0; k < count; k++) world.append(random.below(4) === 0 ? random.below(4) : 1);
  };

  // All that was to be read once more may be deleted by then, and nothing be left.
  const passing =
    cuts === 'any' ? /^crash$|has been cut beyond|was cut while|ends too early/ : /^crash$|has been cut beyond/;

  async function own(crashAfter: number): Promise<void> {
    let left = crashAfter;
    const step = () => {
      if (--left < 0) throw new Crash();
      if (!Number.isFinite(crashAfter)) return;
      if (random.below(20) === 0) append(1);
      if (cuts === 'any' && random.below(20) === 0) world.trim(1 + random.below(6));
    };
    const ownership = world.own({ beforeWrite: step, maxEvents: 1 + random.below(6), startsAt });
    let last = -1;
    let attempts = 0;
    let calls = 0;
    world.onCall = () => {
      if (cuts !== 'any') return;
      if (cutBefore.includes(calls++)) world.trim(1);
      if (Number.isFinite(crashAfter) && random.below(20) === 0) world.trim(1 + random.below(6));
    };
    const hooks = {
      step,
      flushEvery: () => 1 + random.below(4),
      published(offset: number, name: string) {
        expect(offset).toBeGreaterThan(last);
        last = offset;
        numbers.set(name, (numbers.get(name) ?? new Set()).add(offset));
      },
    };
    try {
      for (let isDone = false; !isDone; ) {
        // Retention goes on for ever: were each attempt to fail because of it, the partition would never begin.
        if (!Number.isFinite(crashAfter)) expect(++attempts).toBeLessThan(mostAttempts);
        calls = 0;
        if (cuts === 'any') append(cutBefore.length + 1);
        isDone = await ownUntilEnd(ownership, store, hooks).then(
          () => true,
          (error: unknown) => {
            // The partition begins again, as with every fault that passes.
            expect(error).toMatchObject({ message: expect.stringMatching(passing) });
            if (error instanceof Crash) throw error;
            // What is not published yet is given out once more.
            last = -1;
            return false;
          },
        );
      }
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
    } finally {
      world.onCall = () => {};
      await ownership.release();
    }
    snapshots.push([...store.groups]);
  }

  append(before);
  for (const happening of events) {
    switch (happening.kind) {
      case 'append':
        append(happening.records);
        break;
      case 'own':
        await own(happening.crashAfter);
        break;
      case 'trim':
        if (cuts === 'any') world.trim(happening.records);
        if (cuts === 'done') world.trim(Math.min(happening.records, checkpointed(world) - world.trimmed()));
        break;
      case 'kcl':
        moveOn(world, happening.records, initial === 'TRIM_HORIZON' ? 0 : startsAt);
        break;
      case 'set back':
        setBack(world, happening.records);
        store.groups = emptyStore().groups;
        break;
      case 'reset':
        await reset(world, store, happening.wanted);
        break;
      case 'lose':
        store.groups = store.groups.with(happening.group, emptyGroup());
        break;
      case 'fall back': {
        const snapshot = snapshots.at(-1 - happening.by) ?? snapshots[0];
        store.groups = store.groups.with(happening.group, snapshot[happening.group]);
        break;
      }
      case 'lose all':
        store.groups = emptyStore().groups;
    }
  }
  await own(Number.POSITIVE_INFINITY);
  return { world, store, numbers };
}

/** Index of the Kinesis record that was checkpointed here last; as if it were the first where none was. */
function checkpointed({ table, records, trimmed }: ShardWorld): number {
  const { checkpoint } = readPositions(table.positions, 'the shard');
  if (checkpoint === undefined || isOrigin(checkpoint)) return trimmed();
  return Math.max(
    trimmed(),
    records.findIndex(({ sequence }) => sequence === checkpoint.sequence),
  );
}

/** A Java consumer has the shard for a while: it moves the checkpoint, and knows nothing of ours. */
function moveOn({ table, records, trimmed }: ShardWorld, count: number, startsAt: number): void {
  const at = records.findLastIndex(
    ({ sequence, arrivedAt }, index) =>
      index < trimmed() || arrivedAt < startsAt || sequence === table.checkpoint.sequence,
  );
  const to = records[Math.min(records.length - 1, at + count)];
  if (to !== undefined && records.indexOf(to) > at) table.checkpoint = { sequence: to.sequence, sub: 0 };
}

/** An operator has the last records read again, with empty state: none may be ahead of the position. */
function setBack({ table, records }: ShardWorld, count: number): void {
  const at = records.findIndex(({ sequence }) => sequence === table.checkpoint.sequence);
  if (at >= 0) table.checkpoint = { sequence: records[Math.max(0, at - count)].sequence, sub: 0 };
}

/** `weir offsets reset`: state that reaches beyond the new position goes with the fence. */
async function reset({ table, log }: ShardWorld, store: GroupedStore, wanted: Wanted): Promise<void> {
  const place = await wantedPlace(wanted, readPositions(table.positions, 'shardId-000000000000'), log);
  if (place === undefined) return;
  table.checkpoint = place.checkpoint;
  table.positions = { ...table.positions, ...writePositions(place.kept) };
  store.groups = store.groups.map(({ states }) => ({
    fence: undefined,
    states: new Map([...states].filter(([, { offset }]) => offset <= place.position)),
  }));
}

/** A cut may come between any two calls; what was counted then has to do for the next attempt. */
const mostAttempts = 6;
const runs = { numRuns: 100 };
/** The log is cut behind the only number that is known before what one group has and another has lost. */
const cutBehindState: Story = {
  initial: 'TRIM_HORIZON',
  before: 0,
  seed: 20,
  cutBefore: [],
  events: [
    { kind: 'append', records: 4 },
    { kind: 'kcl', records: 3 },
    { kind: 'append', records: 6 },
    { kind: 'own', crashAfter: 31 },
    { kind: 'own', crashAfter: 2 },
    { kind: 'lose', group: 1 },
    { kind: 'trim', records: 9 },
  ],
};
/** The log is cut before the shard's origin, behind state that one group has fallen back to. */
const cutBeforeOrigin: Story = {
  initial: 'AT_TIMESTAMP',
  before: 9,
  seed: 346_450_076,
  cutBefore: [],
  events: [
    { kind: 'append', records: 3 },
    { kind: 'own', crashAfter: 16 },
    { kind: 'append', records: 2 },
    { kind: 'own', crashAfter: 29 },
    { kind: 'append', records: 1 },
    { kind: 'own', crashAfter: 7 },
    { kind: 'fall back', group: 1, by: 2 },
    { kind: 'own', crashAfter: 1 },
  ],
};
/** With each attempt to make state again retention goes on, twice while its beginning is looked for. */
const cutAgainAndAgain: Story = {
  initial: 'TRIM_HORIZON',
  before: 6,
  seed: 0,
  cutBefore: [5, 6],
  events: [
    { kind: 'append', records: 49 },
    { kind: 'own', crashAfter: 110 },
    { kind: 'lose', group: 0 },
    { kind: 'trim', records: 1 },
  ],
};
/** The record at which reading was to begin is deleted before the first page comes. */
const cutBeforeFirstPage: Story = {
  initial: 'AT_TIMESTAMP',
  before: 7,
  seed: 695_962_284,
  cutBefore: [],
  events: [
    { kind: 'append', records: 59 },
    { kind: 'own', crashAfter: 356 },
    { kind: 'lose', group: 1 },
    { kind: 'trim', records: 5 },
    { kind: 'own', crashAfter: 4 },
    { kind: 'own', crashAfter: 48 },
    { kind: 'own', crashAfter: 4 },
    { kind: 'own', crashAfter: 1 },
  ],
};

describe('positions of a shard', () => {
  it('are the same for every owner, and no two records share one, whatever happens', async () => {
    await fc.assert(
      fc.asyncProperty(story, async (told) => {
        const { numbers } = await tell(told, 'done');
        for (const seen of numbers.values()) expect(seen.size).toBe(1);
        expectDistinct(numbers);
      }),
      runs,
    );
  });

  it("are nobody else's also where records were deleted that nobody had done with", async () => {
    await fc.assert(
      fc.asyncProperty(story, async (told) => {
        const { numbers } = await tell(told, 'any');
        expectDistinct(numbers);
      }),
      runs,
    );
  });

  it('let every lost state be made again from the log: each event applied once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(story, async (told) => {
        const { world, store } = await tell(told, 'none');
        expect(appliedOf(store)).toEqual(wantedOf(world));
      }),
      runs,
    );
  });

  it('let what the log still has be made again, where it has been cut', async () => {
    await fc.assert(
      fc.asyncProperty(story, async (told) => {
        // One group fallen back to before the log's beginning, while another has nothing, is more than can be told apart.
        const isLoss = ({ kind }: Story['events'][number]) => kind === 'lose' || kind === 'lose all';
        const events = told.events.some(isLoss) ? told.events.filter(({ kind }) => kind !== 'fall back') : told.events;
        const { world, store } = await tell({ ...told, events }, 'any');
        const wanted = wantedOf(world, world.trimmed());
        for (const [entity, applied] of appliedOf(store)) {
          expect(applied).toEqual([...new Set(applied)]);
          expect(applied.slice(applied.length - (wanted.get(entity)?.length ?? 0))).toEqual(wanted.get(entity) ?? []);
        }
      }),
      { ...runs, examples: [[cutBehindState], [cutBeforeOrigin], [cutAgainAndAgain], [cutBeforeFirstPage]] },
    );
  });
});

describe('a shard that ends', () => {
  it('is ended once its state is stored to its end, not before', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    for (let record = 0; record < 5; record++) world.append(1);
    world.hasEnded = true;
    const ownership = world.own({});
    let { earliest: at } = await ownership.range();
    for (let given = 0; given < 5; ) {
      const { values, next } = await ownership.read(at);
      given += values.length;
      at = next;
    }
    await ownership.checkpoint(at);
    ownership.stored!(at - 1);
    for (let reads = 0; reads < 3; reads++) await ownership.read(at);
    expect(ownership.revoked.aborted).toBe(false);
    ownership.stored!(at);
    await new Promise(setImmediate);
    expect(world.table.checkpoint.sequence).toBe('SHARD_END');
    expect(ownership.revoked.aborted).toBe(true);
    await expect(ownership.read(at)).rejects.toMatchObject({ code: 'FENCED' });
  });

  it('lets everything else go on while its state is not stored yet', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    world.append(1);
    world.hasEnded = true;
    const ownership = world.own({});
    const { earliest } = await ownership.range();
    let at = earliest;
    while (at === earliest) at = (await ownership.read(at)).next;
    let hasStored = false;
    setImmediate(() => {
      hasStored = true;
    });
    for (let reads = 0; reads < 20; reads++) await ownership.read(at);
    expect(hasStored).toBe(true);
  });

  it.each([
    ['whose end was read', true, false],
    ['of which the stream says that it was split, before its end is read', false, true],
  ])(
    'is not at the end of all that there is: what followed its records is elsewhere; %s',
    async (_, hasEnded, isClosed) => {
      const world = createShardWorld('TRIM_HORIZON');
      for (let record = 0; record < 5; record++) world.append(1);
      world.hasEnded = hasEnded;
      const ownership = world.own({ isClosed });
      let { earliest: at } = await ownership.range();
      for (let given = 0; given < 5; ) {
        const { values, next, end } = await ownership.read(at);
        expect(end).toBe(Number.POSITIVE_INFINITY);
        given += values.length;
        at = next;
      }
      for (let reads = 0; reads < 3; reads++) expect((await ownership.read(at)).end).toBe(Number.POSITIVE_INFINITY);
      await ownership.release();
    },
  );

  it('is ended without any record as soon as its state is known to be stored', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    world.hasEnded = true;
    const ownership = world.own({ isWhole: true });
    const position = (await ownership.checkpointed()) ?? 0;
    ownership.stored!(position);
    while (!ownership.revoked.aborted) await ownership.read(position);
    expect(world.table.checkpoint.sequence).toBe('SHARD_END');
  });
});

function expectDistinct(numbers: Told['numbers']): void {
  const all = [...numbers.values()].flatMap((seen) => [...seen]);
  expect(new Set(all).size).toBe(all.length);
}

function appliedOf({ groups }: GroupedStore): Map<number, readonly string[]> {
  return new Map(
    groups.flatMap(({ states }) => [...states].map(([entity, { applied }]) => [entity, applied] as const)),
  );
}

/** By entity the user records in the log, from the Kinesis record on. */
function wantedOf({ records }: ShardWorld, from = 0): Map<number, readonly string[]> {
  const wanted = new Map<number, string[]>();
  for (const [index, { data }] of [...records.entries()].slice(from)) {
    const users =
      data[0] === 0xf3 ? data.toString('latin1').match(new RegExp(`${index}\\.\\d`, 'g'))! : [data.toString()];
    for (const name of users ?? []) wanted.set(entityOf(name), [...(wanted.get(entityOf(name)) ?? []), name]);
  }
  return wanted;
}

describe('reading that failed', () => {
  it('goes on from where it was, once it is asked to again', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    const owner = world.own({});
    world.append(1);
    await owner.range();
    const first = await owner.read((await owner.checkpointed())!);
    await owner.checkpoint(first.next);
    world.fault = new WeirError('BROKER', 'Kinesis does not answer');
    world.append(1);
    const failing = async () => {
      for (;;) await owner.read(first.next);
    };
    await expect(failing()).rejects.toMatchObject({ code: 'BROKER' });
    const { values } = await owner.read((await owner.checkpointed())!);
    expect(values.map(String)).toEqual(['1.0']);
    await owner.release();
  });
});
