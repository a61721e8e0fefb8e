import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fenceLifetimeMs, leastLifetimeMs } from '../../features/expiry.ts';
import type { StateStore } from '../../features/store.ts';
import type { StoreReader } from '../../features/store-reader.ts';
import { systemClock } from '../../runtime/clock.ts';
import { change } from './state-store.ts';

/** How a reader is put to the test: over a medium with nothing in it. */
export interface StoreReaderFixture {
  openStore(): Promise<StateStore>;
  /** @param recipe that of the store unless stated. */
  openReader(state: { readonly now?: () => number; readonly recipe?: string }): Promise<StoreReader>;
  /** Everything that lies in the medium, to be compared. */
  snapshot(): Promise<unknown>;
  remove(): Promise<void>;
}

/** What the port promises, whatever the adapter. Sub-states are retained for 30 days. */
export function describeStoreReaderContract(name: string, create: () => Promise<StoreReaderFixture>): void {
  describe(`${name} keeps the store reader contract`, () => {
    let fixture: StoreReaderFixture;
    beforeEach(async () => {
      fixture = await create();
    });
    afterEach(() => fixture.remove());

    async function stored(write: (store: StateStore) => Promise<void>): Promise<void> {
      const store = await fixture.openStore();
      await write(store);
      await store.close();
    }

    async function read(id: string, state: Parameters<StoreReaderFixture['openReader']>[0] = {}, type = 'card') {
      const reader = await fixture.openReader(state);
      const subStates = await reader.read(type, id);
      await reader.close();
      return subStates.map(({ partition, offset, fence, bytes }) => [
        partition,
        offset,
        fence,
        Buffer.from(bytes).toString(),
      ]);
    }

    it('reads every partition with its fence, in order of the partitions', async () => {
      await stored(async (store) => {
        await store.flush('t:10', [change('a', 3)], 4);
        await store.flush('t:2', [change('a', 70), change('b', 71)], 80);
        await store.flush('t:10', [change('b', 9)], 12);
        await store.flush('t:0', [], 1);
      });
      expect(await read('a')).toEqual([
        ['t:2', 70, 80, 'a@70'],
        ['t:10', 3, 12, 'a@3'],
      ]);
      expect(await read('b')).toEqual([
        ['t:2', 71, 80, 'b@71'],
        ['t:10', 9, 12, 'b@9'],
      ]);
    });

    it('reads the fences of partitions, the lowest over all that is stored', async () => {
      await stored(async (store) => {
        await store.flush('t:0', [], 4);
        await store.flush('t:2', [change('a', 70), change('b', 71)], 80);
      });
      const reader = await fixture.openReader({});
      expect(await reader.fences(['t:2', 't:1', 't:0'])).toEqual([80, undefined, 4]);
      await reader.close();
      const later = await fixture.openReader({ now: () => systemClock.now() + 60_000 });
      expect(await later.fences(['t:0'])).toEqual([4]);
      await later.close();
      const other = await fixture.openReader({ recipe: 'ba9876543210' });
      expect(await other.fences(['t:0'])).toEqual([undefined]);
      await other.close();
    });

    it('knows nothing of other ids, types and recipes', async () => {
      const id = `${'ü'.repeat(300)}:x`;
      await stored((store) => store.flush('t:0', [change('a', 1), change(id, 1, 'long')], 1));
      expect(await read(id)).toEqual([['t:0', 1, 1, 'long']]);
      expect(await read(`${id}y`)).toEqual([]);
      expect(await read('a', {}, 'terminal')).toEqual([]);
      expect(await read('a', { recipe: 'ba9876543210' })).toEqual([]);
    });

    it('leaves out what has expired, and changes nothing', async () => {
      await stored((store) => store.flush('t:0', [change('a', 1)], 1));
      const before = await fixture.snapshot();
      const later = (ms: number) => ({ now: () => systemClock.now() + ms });
      const day = 86_400_000;
      expect(await read('a', later(fenceLifetimeMs - day))).toEqual([['t:0', 1, 1, 'a@1']]);
      expect(await read('a', later(leastLifetimeMs + 29 * day))).toHaveLength(1);
      expect(await read('a', later(leastLifetimeMs + 31 * day))).toEqual([]);
      expect(await fixture.snapshot()).toEqual(before);
    });
  });
}
