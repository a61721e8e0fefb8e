import { describe, expect, it } from '@jest/globals';
import { historyChange } from '../../features/history.ts';
import { batchOf, createProcess, heldStore, minute } from '../support/feature-process.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the feature engine', () => {
  it('reads what the partitions of a process and those of others say of an entity', async () => {
    const { store } = heldStore();
    const [one, two] = [createProcess(store), createProcess(store)];
    one.engine.gain('t:0', 3);
    one.engine.gain('t:1', 3);
    two.engine.gain('t:2', 3);
    expect(await one.apply('t:0', batchOf([1, 2]), 'card.count.1h')).toEqual([1, 2]);
    expect(await one.apply('t:1', batchOf([3]), 'card.count.1h')).toEqual([3]);
    await two.apply('t:2', batchOf([4]), 'card.count.1h');
    await two.flush('t:2');
    expect(await one.apply('t:0', batchOf([5]), 'card.count.1h')).toEqual([4]);
    one.tick(101);
    expect(await one.apply('t:0', batchOf([6]), 'card.sum.amount.1h')).toEqual([1 + 2 + 3 + 4 + 5 + 6]);
  });

  it("never uses damaged bytes: an own sub-state is discarded and asked for again, another process's left out", async () => {
    const { store, damage } = heldStore();
    const [one, two] = [createProcess(store), createProcess(store)];
    one.engine.gain('t:0', 2);
    two.engine.gain('t:1', 2);
    await one.apply('t:0', batchOf([1, 2, 3]), 'card.count.1h');
    await one.flush('t:0');
    damage('card c', 't:0');
    expect(await two.apply('t:1', batchOf([4]), 'card.count.1h')).toEqual(['1 stale']);
    expect(two.damages).toHaveLength(1);
    await two.flush('t:1');
    damage('card c', 't:1');
    two.engine.lose('t:1');
    two.engine.gain('t:1', 2);
    await expect(two.apply('t:1', batchOf([5]), 'card.count.1h')).rejects.toThrow('its checksum does not match');
    // As the partition does when it begins again from the log.
    const again = batchOf([4]);
    two.engine.replay(again, await two.engine.load(again, 't:1'), 't:1');
    expect(await two.apply('t:1', batchOf([5]), 'card.count.1h')).toEqual(['2 stale']);
    // The other process makes its own anew as well.
    one.engine.lose('t:0');
    one.engine.gain('t:0', 2);
    const own = batchOf([1, 2, 3]);
    one.engine.replay(own, await one.engine.load(own, 't:0'), 't:0');
    await one.flush('t:0');
    two.tick(101);
    expect(await two.apply('t:1', batchOf([6]), 'card.count.1h')).toEqual([6]);
  });

  it('goes on reading what the old partition of a key says after the topic has grown', async () => {
    const { store } = heldStore();
    const [old, grown] = [createProcess(store, 100, 'card'), createProcess(store, 100, 'card')];
    old.engine.gain('t:0', 2);
    grown.engine.gain('t:1', 2);
    await old.apply('t:0', batchOf([0, 1]), 'card.count.1h');
    await old.flush('t:0');
    expect(await grown.apply('t:1', batchOf([10]), 'card.count.1h')).toEqual([3]);
    // What the old partition still had to read.
    await old.apply('t:0', batchOf([2, 3, 4]), 'card.count.1h');
    await old.flush('t:0');
    grown.tick(101);
    expect(await grown.apply('t:1', batchOf([11]), 'card.count.1h')).toEqual([7]);
  });

  it('does not ask again for the entity that keys the source while no key has moved', async () => {
    const { store } = heldStore();
    const { engine, apply, lookups, tick } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    for (let n = 0; n < 3; n++) {
      await apply('t:0', batchOf([n]), 'card.count.1h');
      tick(101);
    }
    expect(lookups).toEqual({ hits: 2, misses: 1 });
  });

  it('nor because of history from a file, which nobody adds to', async () => {
    const { store } = heldStore();
    const history = createProcess(store);
    history.engine.gain('history.jsonl:0', 1);
    await history.apply('history.jsonl:0', batchOf([0]), 'card.count.1h');
    await history.flush('history.jsonl:0');
    const { engine, apply, lookups, tick } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    for (let n = 1; n < 4; n++) {
      expect(await apply('t:0', batchOf([n]), 'card.count.1h')).toEqual([n + 1]);
      tick(101);
    }
    expect(lookups).toEqual({ hits: 2, misses: 1 });
  });

  it('marks what a partition that is behind shares with others as stale', async () => {
    const { store } = heldStore();
    const { engine, apply } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    engine.recovering('t:1', true);
    const batch = (offset: number) => batchOf([offset], 'c', 'x');
    expect(await apply('t:0', batch(0), 'terminal.count.1h')).toEqual(['1 stale']);
    expect(await apply('t:0', batch(1), 'card.count.1h')).toEqual([2]);
    engine.recovering('t:1', false);
    expect(await apply('t:0', batch(2), 'terminal.count.1h')).toEqual([3]);
  });

  it('reads again what others have stored since, also within the refresh time, as soon as an event asks for it', async () => {
    const { store } = heldStore();
    const [ahead, slow] = [createProcess(store, 100, 'card'), createProcess(store, 100, 'card')];
    ahead.engine.gain('t:0', 2);
    slow.engine.gain('t:1', 2);
    await slow.apply('t:1', batchOf([0], 'd', 'x'), 'terminal.count.1h');
    slow.engine.frontiers.say('t:1', 1 * minute, 'reading');
    await slow.flush('t:1');
    await ahead.engine.learnOthers();
    expect(await ahead.apply('t:0', batchOf([1], 'c', 'x'), 'terminal.count.1h')).toEqual([2]);
    await slow.apply('t:1', batchOf([1], 'd', 'x'), 'terminal.count.1h');
    slow.engine.frontiers.say('t:1', 2 * minute, 'reading');
    await slow.flush('t:1');
    // What is stored is not known to be, and then it is known.
    expect(await ahead.apply('t:0', batchOf([2], 'c', 'x'), 'terminal.count.1h')).toEqual([3]);
    await ahead.engine.frontiers.learn();
    expect(await ahead.apply('t:0', batchOf([3], 'c', 'x'), 'terminal.count.1h')).toEqual([5]);
    expect(ahead.lookups).toEqual({ hits: 3, misses: 3 });
  });

  it('marks what reads beyond what others have stored as stale', async () => {
    const { store } = heldStore();
    const { engine, apply } = createProcess(store, 100, 'card');
    engine.gain('t:0', 2);
    // Within the tolerance of a minute it is not.
    const seenBefore = 1 * minute;
    expect(await apply('t:0', batchOf([0, 1, 2], 'c', 'x'), 'terminal.count.1h', seenBefore)).toEqual([
      1,
      2,
      '3 stale',
    ]);
    expect(await apply('t:0', batchOf([3], 'c', 'x'), 'card.count.1h', seenBefore)).toEqual([4]);
    expect(engine.asksOfOthers(0)).toMatchObject({ undelayed: true, delayMs: Number.POSITIVE_INFINITY });
  });

  it('marks what a partition that goes on without the store lacks, also when another has loaded it since', async () => {
    const { store } = heldStore();
    const { engine, apply, applyHeld, flush } = createProcess(store);
    const batch = (offset: number) => batchOf([offset], 'c', 'x');
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    await apply('t:0', batch(0), 'terminal.count.1h');
    await flush('t:0');
    // It begins again, and the store is away.
    engine.lose('t:0');
    engine.gain('t:0', 2);
    engine.cutOff('t:0');
    expect(applyHeld('t:0', batch(1), 'terminal.count.1h')).toEqual(['1 incomplete']);
    expect(applyHeld('t:0', batch(2), 'terminal.count.1h')).toEqual(['2 incomplete']);
    // The store is back, and t:1 hears of it first.
    engine.lose('t:1');
    engine.gain('t:1', 2);
    await apply('t:1', batchOf([2], 'd', 'x'), 'terminal.count.1h');
    expect(applyHeld('t:0', batch(3), 'terminal.count.1h')).toEqual(['4 incomplete']);
  });

  it('asks the store once for what two partitions want at the same time', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply, lookups } = createProcess(store);
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    hold(true);
    const first = apply('t:0', batchOf([1, 2], 'c', 'x'), 'card.count.1h');
    const second = apply('t:1', batchOf([3, 4], 'c', 'y'), 'card.count.1h');
    await settled();
    expect(held.map(({ requests }) => requests.map(({ id }) => id))).toEqual([['c', 'x'], ['y']]);
    held[1].answer();
    await settled();
    held[0].answer();
    expect([await first, await second]).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(lookups).toEqual({ hits: 0, misses: 3 });
  });

  it('does not go on from what was asked before the partition was gained', async () => {
    const { store, held, hold } = heldStore();
    const [former, heir] = [createProcess(store), createProcess(store)];
    former.engine.gain('t:1', 2);
    await former.apply('t:1', batchOf([0, 1]), 'card.count.1h');
    await former.flush('t:1');
    heir.engine.gain('t:0', 2);
    hold(true);
    const before = heir.apply('t:0', batchOf([0]), 'card.count.1h');
    await settled();
    await former.apply('t:1', batchOf([2, 3]), 'card.count.1h');
    await former.flush('t:1');
    former.engine.lose('t:1');
    heir.engine.gain('t:1', 2);
    const after = heir.apply('t:1', batchOf([4]), 'card.count.1h');
    await settled();
    hold(false);
    for (const { answer } of held) answer();
    await before;
    expect(await after).toEqual([6]);
  });

  it('asks again for a partition that it lost while the store was asked to leave it out', async () => {
    const { store, held, hold } = heldStore();
    const [one, two] = [createProcess(store), createProcess(store)];
    for (const partition of ['t:0', 't:1']) one.engine.gain(partition, 3);
    two.engine.gain('t:2', 3);
    await one.apply('t:1', batchOf([0, 1]), 'card.count.1h');
    await one.flush('t:1');
    await one.apply('t:0', batchOf([2]), 'card.count.1h');
    one.tick(101);
    await one.apply('t:0', batchOf([3]), 'card.count.1h');
    await two.apply('t:2', batchOf([4]), 'card.count.1h');
    await two.flush('t:2');
    one.tick(101);
    hold(true);
    const loading = one.apply('t:0', batchOf([5]), 'card.count.1h');
    await settled();
    one.engine.lose('t:1');
    hold(false);
    held[0].answer();
    expect(await loading).toEqual([6]);
  });

  it('keeps what it has not stored yet when another partition is lost', async () => {
    const { store } = heldStore();
    const { engine, apply, flush } = createProcess(store);
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    await apply('t:0', batchOf([0]), 'card.count.1h');
    await flush('t:0');
    await apply('t:0', batchOf([1, 2]), 'card.count.1h');
    await apply('t:1', batchOf([3]), 'card.count.1h');
    engine.lose('t:1');
    expect(await apply('t:0', batchOf([4]), 'card.count.1h')).toEqual([4]);
  });

  it('leaves out what a sub-state has when a log is applied again', async () => {
    const { store } = heldStore();
    const first = createProcess(store);
    first.engine.gain('t:0', 1);
    await first.apply('t:0', batchOf([0, 1, 2]), 'card.count.1h');
    await first.flush('t:0');
    const { engine, apply, flush } = createProcess(store);
    engine.gain('t:0', 1);
    for (let time = 0; time < 2; time++) {
      const again = batchOf([1, 2, 3]);
      engine.replay(again, await engine.load(again, 't:0'), 't:0');
    }
    expect(await flush('t:0')).toBe(1);
    expect(await apply('t:0', batchOf([4]), 'card.sum.amount.1h')).toEqual([1 + 2 + 3 + 4]);
  });

  it('evicts what is not in use and stored, and reads it again with the same features', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply, flush } = createProcess(store, 4);
    engine.gain('t:0', 1);
    const cards = Array.from({ length: 20 }, (_, card) => `card-${card}`);
    for (const [n, card] of cards.entries()) await apply('t:0', batchOf([n], card), 'card.count.1h');
    expect(engine.entities()).toBe(20);
    await flush('t:0');
    hold(true);
    const loading = apply('t:0', batchOf([20], 'held'), 'card.count.1h');
    await settled();
    hold(false);
    for (const card of ['x', 'y', 'z', 'u', 'v', 'w']) await apply('t:0', batchOf([21], card), 'card.count.1h');
    expect(engine.entities()).toBeLessThan(12);
    held[0].answer();
    expect(await loading).toEqual([1]);
    expect(await apply('t:0', batchOf([22], 'held'), 'card.count.1h')).toEqual([2]);
    for (const card of cards) expect(await apply('t:0', batchOf([23], card), 'card.count.1h')).toEqual([2]);
  });

  it('evicts as well what could not be loaded', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply, flush } = createProcess(store, 4);
    engine.gain('t:0', 1);
    hold(true);
    for (let n = 0; n < 12; n++) {
      const loading = apply('t:0', batchOf([n], `card-${n}`), 'card.count.1h');
      await settled();
      held.shift()!.fail(new Error('away'));
      await expect(loading).rejects.toThrow('away');
    }
    hold(false);
    for (const card of ['x', 'y', 'z', 'u', 'v', 'w']) {
      await apply('t:0', batchOf([21], card), 'card.count.1h');
      await flush('t:0');
    }
    expect(engine.entities()).toBeLessThan(8);
  });

  it('keeps what changes while a flush of nothing is under way until it is stored', async () => {
    const { store } = heldStore();
    const { engine, apply } = createProcess(store, 2);
    engine.gain('t:0', 1);
    const nothing = engine.takeChanges('t:0', 0);
    await apply('t:0', batchOf([0], 'first'), 'card.count.1h');
    nothing.settle();
    for (let n = 1; n < 10; n++) await apply('t:0', batchOf([n], `other-${n}`), 'card.count.1h');
    expect(await apply('t:0', batchOf([10], 'first'), 'card.count.1h')).toEqual([2]);
  });

  it('says when so much has changed that the store should come after, by the share of each partition', async () => {
    const { engine, apply } = createProcess(heldStore().store, 8);
    engine.gain('t:0', 2);
    const changed: boolean[] = [];
    for (let n = 0; n < 4; n++) {
      await apply('t:0', batchOf([n], `card-${n}`), 'card.count.1h');
      changed.push(engine.hasManyChanges('t:0'));
    }
    expect(changed).toEqual([false, false, false, true]);
    engine.takeChanges('t:0', 0).settle();
    expect(engine.hasManyChanges('t:0')).toBe(false);
    engine.gain('t:1', 2);
    for (let n = 4; n < 6; n++) await apply('t:0', batchOf([n], `card-${n}`), 'card.count.1h');
    expect([engine.hasManyChanges('t:0'), engine.hasManyChanges('t:1')]).toEqual([true, false]);
  });

  it('goes on after a load has failed', async () => {
    const { store, held, hold } = heldStore();
    const { engine, apply } = createProcess(store, 2);
    engine.gain('t:0', 2);
    engine.gain('t:1', 2);
    hold(true);
    const failing = [apply('t:0', batchOf([1]), 'card.count.1h'), apply('t:1', batchOf([2]), 'card.count.1h')];
    const outcome = Promise.allSettled(failing);
    await settled();
    held[0].fail(new Error('away'));
    expect((await outcome).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    hold(false);
    expect(await apply('t:0', batchOf([1]), 'card.count.1h')).toEqual([1]);
    for (let n = 2; n < 12; n++) await apply('t:0', batchOf([n], `other-${n}`), 'card.count.1h');
    engine.takeChanges('t:0', 0).settle();
    for (let n = 12; n < 20; n++) await apply('t:0', batchOf([n], `other-${n}`), 'card.count.1h');
    expect(engine.entities()).toBeLessThan(12);
  });

  it('counts and remembers events that came too late', async () => {
    const { store } = heldStore();
    const at = (first: number, ...minutes: number[]) => ({
      ...batchOf(minutes.map((_, n) => first + n)),
      times: Float64Array.from(minutes, (time) => time * minute),
    });
    const { engine, apply, flush, lates } = createProcess(store);
    engine.gain('t:0', 1);
    const seen = await apply('t:0', at(0, 100, 40.5, 42, 101), 'card.count.1h');
    expect(seen).toEqual([1, 1, 2, 3]);
    expect(await flush('t:0')).toBe(1);
    expect(await apply('t:0', at(4, 41), 'card.count.1h')).toEqual(['0 incomplete']);
    expect(lates).toEqual([0, 1]);
    expect(await flush('t:0')).toBe(1);
    const again = createProcess(store);
    again.engine.gain('t:0', 1);
    expect(await again.apply('t:0', at(5, 100.9, 101.5), 'card.count.1h')).toEqual(['3 incomplete', 5]);
  });

  it('gives an event without the entity the documented defaults', async () => {
    const { engine, apply } = createProcess(heldStore().store);
    engine.gain('t:0', 1);
    expect(await apply('t:0', batchOf([0, 1], 'c', ''), 'terminal.count.1h')).toEqual(['0 absent', '0 absent']);
  });

  describe('where the log does not reach back', () => {
    /** Minutes; the set's lateness is none. */
    const begins = 100;

    it('marks windows that reach behind its beginning, until they have filled, and says since when all is known', async () => {
      const { engine, apply, knownFrom } = createProcess(heldStore().store);
      engine.gain('t:0', 1);
      await engine.learnOthers();
      engine.truncated('t:0', begins);
      expect(await apply('t:0', batchOf([begins, begins + 59, begins + 60]), 'card.count.1h')).toEqual([
        '1 incomplete',
        '2 incomplete',
        2,
      ]);
      expect(knownFrom()).toEqual([begins, begins, Number.NaN]);
    });

    it('marks what was cut out of it while it was read, and forgets nothing of what was before', async () => {
      const { engine, apply, knownFrom } = createProcess(heldStore().store);
      engine.gain('t:0', 1);
      await engine.learnOthers();
      expect(await apply('t:0', batchOf([10, 20]), 'card.count.1h')).toEqual([1, 2]);
      expect(knownFrom()).toEqual([Number.NaN, Number.NaN]);
      engine.truncated('t:0', 30);
      expect(await apply('t:0', batchOf([40, 90]), 'card.count.1h')).toEqual(['3 incomplete', '2 incomplete']);
      expect(knownFrom()).toEqual([40, 40]);
      expect(await apply('t:0', batchOf([101]), 'card.count.1h')).toEqual([2]);
    });

    it('is told by the first event that comes, also to whoever finds in the store that none had come', async () => {
      const { store } = heldStore();
      const one = createProcess(store);
      one.engine.gain('t:0', 1);
      one.engine.truncated('t:0', begins);
      await one.flush('t:0');
      const heir = createProcess(store);
      heir.engine.gain('t:0', 1);
      await heir.engine.learnOthers();
      const counts = await heir.apply('t:0', batchOf([begins + 5, begins + 65]), 'card.count.1h');
      expect(counts).toEqual(['1 incomplete', 1]);
      expect(heir.knownFrom()).toEqual([begins + 5, Number.NaN]);
    });

    it('also for those that come to know it from the store: of what they share with the partition', async () => {
      const { store } = heldStore();
      const [one, two] = [createProcess(store, 100, 'card'), createProcess(store, 100, 'card')];
      one.engine.gain('t:0', 2);
      one.engine.truncated('t:0', begins);
      const first = batchOf([begins]);
      one.engine.replay(first, await one.engine.load(first, 't:0'), 't:0');
      await one.flush('t:0');
      two.engine.gain('t:1', 2);
      await two.engine.learnOthers();
      expect(await two.apply('t:1', batchOf([begins + 10], 'd', 'x'), 'terminal.count.1h')).toEqual(['1 incomplete']);
      expect(await two.apply('t:1', batchOf([begins + 11], 'e', 'x'), 'card.count.1h')).toEqual([1]);
      // As its owner, after a restart.
      const heir = createProcess(store, 100, 'card');
      heir.engine.gain('t:0', 2);
      await heir.engine.learnOthers();
      expect(await heir.apply('t:0', batchOf([begins + 12]), 'card.count.1h')).toEqual(['2 incomplete']);
    });

    it('also where its owner lost it before there was an event to say when', async () => {
      const { store } = heldStore();
      const [former, heir] = [createProcess(store), createProcess(store)];
      former.engine.gain('t:0', 1);
      former.engine.truncated('t:0', begins);
      await former.flush('t:0');
      heir.engine.gain('t:0', 1);
      await heir.engine.learnOthers();
      expect(await heir.apply('t:0', batchOf([begins, begins + 60]), 'card.count.1h')).toEqual(['1 incomplete', 1]);
    });

    it.each([
      ['goes back as far as a file that reaches up to it', begins, 50, 1],
      ['but not beyond the beginning of the file', begins, 61, '1 incomplete'],
      ['nor through one that ends before', begins - 1, 50, '1 incomplete'],
    ])('%s', async (_, until, from, wanted) => {
      const { store } = heldStore();
      const known = historyChange({ from: from * minute, until: until * minute, offset: 1 });
      await store.flush('history.jsonl:0', [known], 1);
      const { engine, apply } = createProcess(store);
      engine.gain('t:0', 1);
      await engine.learnOthers();
      engine.truncated('t:0', begins);
      await apply('t:0', batchOf([begins], 'd'), 'card.count.1h');
      expect(await apply('t:0', batchOf([begins + 20]), 'card.count.1h')).toEqual([wanted]);
    });
  });
});
