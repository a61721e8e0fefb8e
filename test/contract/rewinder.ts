import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { frontierId, frontierType } from '../../features/frontier.ts';
import type { Rewinder } from '../../features/rewinder.ts';
import type { StateStore } from '../../features/store.ts';
import { change, contents, nobody, request } from './state-store.ts';

/** How a rewinder is put to the test: over a medium with nothing in it. */
export interface RewinderFixture {
  openStore(): Promise<StateStore>;
  openRewinder(): Promise<Rewinder>;
  remove(): Promise<void>;
}

/** What the port promises, whatever the adapter. */
export function describeRewinderContract(name: string, create: () => Promise<RewinderFixture>): void {
  describe(`${name} keeps the rewinder contract`, () => {
    let fixture: RewinderFixture;
    beforeEach(async () => {
      fixture = await create();
    });
    afterEach(() => fixture.remove());

    async function withStore<T>(work: (store: StateStore) => Promise<T>): Promise<T> {
      const store = await fixture.openStore();
      return work(store).finally(() => store.close());
    }

    async function withRewinder<T>(work: (rewinder: Rewinder) => Promise<T>): Promise<T> {
      const rewinder = await fixture.openRewinder();
      return work(rewinder).finally(() => rewinder.close());
    }

    const loadAll = (ids: readonly string[]) =>
      withStore(async (store) => {
        const answers = await store.load(
          ids.map((id) => request(id)),
          nobody,
        );
        return answers.map(contents);
      });

    const stored = () =>
      withStore(async (store) => {
        const repeats = change('a', 90, 'ids', '@ids');
        const frontier = change(frontierId, 1_000, 'frontier', frontierType);
        await store.flush('t:0', [change('a', 40), change('b', 41), change('c', 100), repeats, frontier], 100);
        await store.flush('t:1', [change('a', 70), change('b', 30), frontier], 80);
        await store.flush('t:10', [change('a', 99), frontier], 100);
      });

    it('knows the fences, and what reaches beyond a position; knowing changes nothing', async () => {
      await stored();
      await withRewinder(async (rewinder) => {
        expect(await rewinder.fences(['t:1', 't:9', 't:0'])).toEqual([80, undefined, 100]);
        const limits = new Map([
          ['t:0', 40],
          ['t:1', 29],
          ['t:9', 0],
        ]);
        const counts = await rewinder.countBeyond(limits);
        expect([counts.get('t:0'), counts.get('t:1'), counts.get('t:9') ?? 0]).toEqual([3, 2, 0]);
        expect(await rewinder.fences(['t:0'])).toEqual([100]);
      });
      expect(await loadAll(['a'])).toEqual([{ 't:0': '40 a@40', 't:1': '70 a@70', 't:10': '99 a@99' }]);
    });

    it('drops what reaches beyond, with the fences of the partitions named, and nothing else', async () => {
      await stored();
      const limits = new Map([
        ['t:0', 40],
        ['t:1', 70],
      ]);
      await withRewinder(async (rewinder) => {
        const counts = await rewinder.eraseBeyond(limits, () => {});
        expect([counts.get('t:0'), counts.get('t:1') ?? 0]).toEqual([3, 0]);
        expect(await rewinder.fences(['t:0', 't:1', 't:10'])).toEqual([undefined, undefined, 100]);
        expect((await rewinder.countBeyond(limits)).get('t:0') ?? 0).toBe(0);
      });
      expect(await loadAll(['a', 'b', 'c'])).toEqual([
        { 't:0': '40 a@40', 't:1': '70 a@70', 't:10': '99 a@99' },
        { 't:1': '30 b@30' },
        {},
      ]);
      await withStore(async (store) => {
        const [ids, frontiers] = await store.load(
          [request('a', 0, '@ids'), request(frontierId, 0, frontierType)],
          nobody,
        );
        expect([contents(ids), contents(frontiers)]).toEqual([{}, { 't:10': '1000 frontier' }]);
        // The next owner begins without a fence, and stores what it makes anew.
        expect((await store.fence('t:0')) ?? 0).toBe(0);
        await store.flush('t:0', [change('b', 38), change('a', 40, 'not taken')], 40);
        expect(await store.fence('t:0')).toBe(40);
      });
      expect(await loadAll(['a', 'b'])).toEqual([
        { 't:0': '40 a@40', 't:1': '70 a@70', 't:10': '99 a@99' },
        { 't:0': '38 b@38', 't:1': '30 b@30' },
      ]);
    });

    it('drops thousands of entities, and is found incomplete wherever it is interrupted', async () => {
      const ids = Array.from({ length: 5_000 }, (_, index) => `card ${index} ü:FENCE:`);
      await withStore((store) =>
        store.flush(
          't:0',
          ids.map((id, index) => change(id, index + 1)),
          5_000,
        ),
      );
      const limits = new Map([['t:0', 1_000]]);
      let demands = 0;
      await withRewinder(async (rewinder) => {
        const interrupted = rewinder.eraseBeyond(limits, () => {
          if (demands++ === 3) throw new Error('interrupted here');
        });
        await expect(interrupted).rejects.toThrow('interrupted here');
        expect(await rewinder.fences(['t:0'])).toEqual([undefined]);
        const left = (await rewinder.countBeyond(limits)).get('t:0')!;
        expect(left).toBeGreaterThan(0);
        expect(left).toBeLessThanOrEqual(4_000);
        expect((await rewinder.eraseBeyond(limits, () => {})).get('t:0')).toBe(left);
      });
      const answers = await loadAll(ids);
      expect(answers.filter((of) => of['t:0'] !== undefined)).toHaveLength(1_000);
      expect(answers[999]).toEqual({ 't:0': `1000 ${ids[999]}@1000` });
    });

    it('has nothing to do where nothing is stored', async () => {
      await withRewinder(async (rewinder) => {
        expect(await rewinder.fences(['t:0'])).toEqual([undefined]);
        expect((await rewinder.countBeyond(new Map([['t:0', 0]]))).get('t:0') ?? 0).toBe(0);
        expect((await rewinder.eraseBeyond(new Map([['t:0', 0]]), () => {})).get('t:0') ?? 0).toBe(0);
      });
    });
  });
}
