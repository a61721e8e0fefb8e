import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  type LoadedEntity,
  type LoadRequest,
  LostStateError,
  type StateStore,
  type SubStateChange,
} from '../../features/store.ts';
import { modelStore } from './state-store-model.ts';

/** How a store adapter is put to the test. */
export interface StateStoreHarness {
  /** A medium with nothing in it. */
  create(): Promise<StateStoreFixture>;
}

export interface StateStoreFixture {
  /** A store as a new process would make it. */
  open(state?: { readonly job?: string; readonly recipe?: string; readonly now?: () => number }): Promise<StateStore>;
  remove(): Promise<void>;
}

export const own: ReadonlySet<string> = new Set(['t:0']);
export const nobody: ReadonlySet<string> = new Set();

export function request(id: string, version = 0, type = 'card'): LoadRequest {
  return { type, id, version };
}

export function change(id: string, offset: number, text = `${id}@${offset}`, type = 'card'): SubStateChange {
  return { type, id, offset, bytes: Buffer.from(text) };
}

/** Sub-states as {partition: "offset text"}. */
export function contents({ subStates }: LoadedEntity): Record<string, string> {
  return Object.fromEntries(
    subStates.map(({ partition, offset, bytes }) => [partition, `${offset} ${Buffer.from(bytes).toString('utf8')}`]),
  );
}

/** What the port promises, whatever the adapter. */
export function describeStateStoreContract(name: string, harness: StateStoreHarness): void {
  describe(`${name} keeps the state store contract`, () => {
    let fixture: StateStoreFixture;
    let store: StateStore;
    let closing: StateStore[] = [];
    beforeEach(async () => {
      fixture = await harness.create();
      closing = [];
      store = await open();
    });
    afterEach(async () => {
      for (const each of closing) await each.close();
      await fixture.remove();
    });

    async function open(state?: Parameters<StateStoreFixture['open']>[0]): Promise<StateStore> {
      const opened = await fixture.open(state);
      closing.push(opened);
      return opened;
    }

    /** As a later process. */
    async function reopen(state?: Parameters<StateStoreFixture['open']>[0]): Promise<StateStore> {
      for (const each of closing.splice(0)) await each.close();
      return open(state);
    }

    async function loadOne(id: string, version = 0, owned = nobody): Promise<LoadedEntity> {
      return (await store.load([request(id, version)], owned))[0];
    }

    it('knows nothing at first', async () => {
      expect(await store.load([request('a'), request('b', 17)], own)).toEqual([
        { version: 0, subStates: [] },
        { version: 0, subStates: [] },
      ]);
      expect(await store.load([], own)).toEqual([]);
      expect(await store.fence('t:0')).toBeUndefined();
    });

    it('gives back what was stored, in the order of the requests, also to a later process', async () => {
      await store.flush('t:0', [change('a', 5), change('b', 7), change('a', 6, 'terminal a', 'terminal')], 8);
      store = await reopen();
      const answers = await store.load(
        [request('b'), request('missing'), request('a', 0, 'terminal'), request('a')],
        own,
      );
      expect(answers.map(contents)).toEqual([{ 't:0': '7 b@7' }, {}, { 't:0': '6 terminal a' }, { 't:0': '5 a@5' }]);
      expect(answers.map(({ version }) => version > 0)).toEqual([true, false, true, true]);
      expect(await store.fence('t:0')).toBe(8);
    });

    it('keeps a sub-state only if its offset is greater than the stored one (I5)', async () => {
      await store.flush('t:0', [change('a', 10, 'ten')], 10);
      const { version } = await loadOne('a');
      await store.flush('t:0', [change('a', 10, 'ten again')], 10);
      await store.flush('t:0', [change('a', 9, 'nine')], 10);
      expect(await loadOne('a')).toEqual({ version, subStates: [expect.objectContaining({ offset: 10 })] });
      expect(contents(await loadOne('a'))).toEqual({ 't:0': '10 ten' });
      await store.flush('t:0', [change('a', 11, 'eleven')], 11);
      expect(contents(await loadOne('a'))).toEqual({ 't:0': '11 eleven' });
    });

    it('stores what is new of a flush that repeats the rest', async () => {
      await store.flush('t:0', [change('a', 3), change('b', 9)], 9);
      await store.flush('t:0', [change('a', 4), change('b', 8), change('c', 1)], 10);
      const answers = await store.load([request('a'), request('b'), request('c')], nobody);
      expect(answers.map(contents)).toEqual([{ 't:0': '4 a@4' }, { 't:0': '9 b@9' }, { 't:0': '1 c@1' }]);
    });

    it('never moves a fence back (I5)', async () => {
      await store.flush('t:0', [], 100);
      expect(await store.fence('t:0')).toBe(100);
      await store.flush('t:0', [change('a', 50)], 60);
      expect(await store.fence('t:0')).toBe(100);
      await store.flush('t:0', [], 2 ** 52);
      expect(await store.fence('t:0')).toBe(2 ** 52);
      expect(await store.fence('t:1')).toBeUndefined();
    });

    it('has the fence 0 for a partition of which nothing was read yet', async () => {
      await store.flush('t:0', [], 0);
      expect(await store.fence('t:0')).toBe(0);
    });

    it("discards one sub-state with its partition's fence, and refuses the owner's next flush", async () => {
      await store.flush('t:0', [change('x', 5), change('y', 6)], 6);
      await store.flush('t:1', [change('x', 9)], 9);
      expect([await store.fence('t:0'), await store.fence('t:1')]).toEqual([6, 9]);
      await store.discard('t:0', { type: 'card', id: 'x' });
      const [x, y] = await store.load([request('x'), request('y')], nobody);
      expect([contents(x), contents(y)]).toEqual([{ 't:1': '9 x@9' }, { 't:0': '6 y@6' }]);
      const refused = await store.flush('t:0', [change('x', 7)], 7).catch((error: unknown) => error);
      expect((refused as Error).cause).toBeInstanceOf(LostStateError);
      expect((await store.fence('t:0')) ?? 0).toBe(0);
      expect(await store.fence('t:1')).toBe(9);
      await store.flush('t:0', [change('x', 7)], 7);
      expect(contents((await store.load([request('x')], nobody))[0])).toEqual({ 't:0': '7 x@7', 't:1': '9 x@9' });
    });

    it('keeps the sub-states of several partitions of one entity', async () => {
      await store.flush('t:0', [change('a', 1, 'zero')], 1);
      await store.flush('t:1', [change('a', 7, 'one')], 7);
      await store.flush('u:1', [change('a', 2, 'other stream')], 2);
      expect(contents(await loadOne('a'))).toEqual({ 't:0': '1 zero', 't:1': '7 one', 'u:1': '2 other stream' });
    });

    it('answers an unchanged entity with its version alone, a changed one with a greater version', async () => {
      await store.flush('t:0', [change('a', 1), change('b', 1)], 1);
      const before = await store.load([request('a'), request('b')], nobody);
      await store.flush('t:1', [change('a', 4)], 4);
      const [a, b] = await store.load([request('a', before[0].version), request('b', before[1].version)], nobody);
      expect(a.version).toBeGreaterThan(before[0].version);
      expect(contents(a)).toEqual({ 't:0': '1 a@1', 't:1': '4 a@4' });
      expect(b).toEqual({ version: before[1].version, subStates: [] });
    });

    it('gives every change another version, also when the clock stands still', async () => {
      const now = Date.UTC(2026, 0, 1);
      store = await reopen({ now: () => now });
      const versions: number[] = [];
      for (let offset = 1; offset <= 5; offset++) {
        await store.flush('t:0', [change('a', offset)], offset);
        versions.push((await loadOne('a')).version);
      }
      expect(new Set(versions).size).toBe(5);
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
    });

    it("leaves the caller's own partitions out where it has a version, and only there", async () => {
      await store.flush('t:0', [change('a', 1)], 1);
      const { version } = await loadOne('a', 0, own);
      await store.flush('t:0', [change('a', 2)], 2);
      await store.flush('t:1', [change('a', 4)], 4);
      expect(contents(await loadOne('a', version, own))).toEqual({ 't:1': '4 a@4' });
      expect(contents(await loadOne('a', version, new Set(['t:0', 't:1'])))).toEqual({});
      expect(contents(await loadOne('a', 0, own))).toEqual({ 't:0': '2 a@2', 't:1': '4 a@4' });
      expect(contents(await loadOne('never stored', version, own))).toEqual({});
    });

    it('takes any bytes, ids and sizes', async () => {
      const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      const ids = [
        'ä',
        '卡',
        '😀',
        'a b',
        'a\r\nb',
        'a:b',
        '{a}',
        '*',
        '$5',
        'nul\0',
        '!',
        'v',
        't:0',
        'x'.repeat(5_000),
      ];
      const sizes = [0, 1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000, 40_000, 3_000_000];
      const changes = [
        ...ids.map((id) => ({ type: 'card', id, offset: 3, bytes: every })),
        ...sizes.map((size) => ({
          type: 'size',
          id: String(size),
          offset: 2 ** 40 + size,
          bytes: Buffer.alloc(size, size),
        })),
      ];
      await store.flush('ström:0', changes, 4);
      const answers = await store.load(
        changes.map(({ type, id }) => ({ type, id, version: 0 })),
        nobody,
      );
      for (let k = 0; k < changes.length; k++) {
        const { id, offset, bytes } = changes[k];
        const [stored] = answers[k].subStates;
        expect({ id, partition: stored.partition, offset: stored.offset }).toEqual({
          id,
          partition: 'ström:0',
          offset,
        });
        expect(Buffer.compare(stored.bytes, bytes)).toBe(0);
      }
    });

    it('takes thousands of entities at once', async () => {
      const ids = Array.from({ length: 12_000 }, (_, index) => `4${String(index * 7_919).padStart(15, '0')}`);
      await store.flush(
        't:0',
        ids.map((id, index) => change(id, index + 1)),
        12_000,
      );
      const answers = await store.load(
        ids.map((id) => request(id)),
        own,
      );
      expect(answers).toHaveLength(ids.length);
      expect(
        answers.every((answer, index) => contents(answer)['t:0'] === `${index + 1} ${ids[index]}@${index + 1}`),
      ).toBe(true);
      const again = await store.load(
        ids.map((id, index) => request(id, answers[index].version)),
        own,
      );
      expect(again).toEqual(answers.map(({ version }) => ({ version, subStates: [] })));
    });

    it('answers an entity that is asked for twice, twice', async () => {
      await store.flush('t:0', [change('a', 1)], 1);
      const answers = await store.load([request('a'), request('a')], nobody);
      expect(answers.map(contents)).toEqual([{ 't:0': '1 a@1' }, { 't:0': '1 a@1' }]);
    });

    it('lets partitions flush and load the same entities at the same time', async () => {
      const ids = Array.from({ length: 300 }, (_, index) => `shared-${index}`);
      const flushes = ['t:0', 't:1', 't:2', 't:3'].map(async (partition) => {
        for (const round of [1, 2, 3]) {
          const changes = ids.map((id) => change(id, round, `${partition} ${round}`));
          await store.flush(partition, changes, round);
        }
      });
      const reads = flushes.map(() =>
        store.load(
          ids.map((id) => request(id)),
          nobody,
        ),
      );
      await Promise.all([...flushes, ...reads]);
      const expected = { 't:0': '3 t:0 3', 't:1': '3 t:1 3', 't:2': '3 t:2 3', 't:3': '3 t:3 3' };
      for (const answer of await store.load(
        ids.map((id) => request(id)),
        nobody,
      ))
        expect(contents(answer)).toEqual(expected);
      for (const partition of ['t:0', 't:1', 't:2', 't:3']) expect(await store.fence(partition)).toBe(3);
    });

    it('keeps jobs and recipes apart', async () => {
      await store.flush('t:0', [change('a', 1)], 1);
      for (const state of [{ recipe: 'ffffffffffff' }, { job: 'other' }]) {
        store = await reopen(state);
        expect(await store.fence('t:0')).toBeUndefined();
        expect(contents(await loadOne('a'))).toEqual({});
        await store.flush('t:0', [change('a', 5, 'theirs')], 5);
      }
      store = await reopen();
      expect(await store.fence('t:0')).toBe(1);
      expect(contents(await loadOne('a'))).toEqual({ 't:0': '1 a@1' });
    });

    it('forgets a sub-state some days after its retention, and the others of the entity later', async () => {
      const days = (count: number) => count * 86_400_000;
      const start = Date.UTC(2026, 0, 1);
      let now = start;
      store = await reopen({ recipe: 'expiring', now: () => now });
      await store.flush('t:0', [change('a', 1), change('b', 1)], 1);
      now = start + days(20);
      await store.flush('t:1', [change('a', 9)], 9);
      now = start + days(30.5);
      expect(contents(await loadOne('a'))).toEqual({ 't:0': '1 a@1', 't:1': '9 a@9' });
      now = start + days(40);
      expect(contents(await loadOne('a'))).toEqual({ 't:1': '9 a@9' });
      await store.flush('t:1', [change('a', 10)], 10);
      expect(contents(await loadOne('a'))).toEqual({ 't:1': '10 a@10' });
    });

    it('answers as a simple model does, in any order of flushes and loads', async () => {
      const partition = fc.constantFrom('t:0', 't:1', 'u:0');
      const id = fc.constantFrom('a', 'b', 'c', 'd', 'e');
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('flush' as const),
          partition,
          ids: fc.uniqueArray(id, { maxLength: 4 }),
          offset: fc.integer({ min: 1, max: 12 }),
          text: fc.string({ maxLength: 6 }),
        }),
        fc.record({
          kind: fc.constant('load' as const),
          requests: fc.array(fc.record({ id, known: fc.boolean() }), { maxLength: 6 }),
          owned: fc.uniqueArray(partition),
        }),
        fc.record({ kind: fc.constant('fence' as const), partition }),
      );
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
          const type = `run_${run++}`;
          const model = modelStore();
          const seen = new Map<string, number>();
          for (const each of steps) {
            if (each.kind === 'fence') {
              expect(await store.fence(`${type}/${each.partition}`)).toBe(model.fence(each.partition));
            } else if (each.kind === 'flush') {
              const changes = each.ids.map((one) => change(one, each.offset, each.text, type));
              await store.flush(`${type}/${each.partition}`, changes, each.offset);
              model.flush(each.partition, changes, each.offset);
            } else {
              const requests = each.requests.map((one) =>
                request(one.id, one.known ? (seen.get(one.id) ?? 0) : 0, type),
              );
              const answers = await store.load(requests, new Set(each.owned.map((one) => `${type}/${one}`)));
              model.check(type, requests, new Set(each.owned), answers);
              for (let k = 0; k < answers.length; k++) seen.set(requests[k].id, answers[k].version);
            }
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
