import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { catchUp } from '../../consumers/backfill-catch-up.ts';
import type { BackfilledPartition } from '../../consumers/backfill-partition.ts';
import type { StateStore } from '../../features/store.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  openStateIn,
  quietSurroundings,
  runInMemory,
  until,
} from '../support/memory-stream.ts';

const job = memoryJob();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-catch-up-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const record = (n: number) => ({ id: `t${n}`, ts: 1e12 + n, amount: n, card: 'c', shop: 's' });

async function withStore(name: string, work: (store: StateStore) => Promise<void>): Promise<void> {
  const store = await openStateIn(join(folder, name), job, name);
  await work(store).finally(() => store.close());
}

/** Catches up with the stream's positions, as those of a group that goes on scoring. */
async function catchUpWith(
  stream: MemoryStream,
  store: StateStore,
  {
    within = 0,
    follow = false,
    signal = new AbortController().signal,
    done = new Map<string, BackfilledPartition>(),
  } = {},
): Promise<boolean> {
  const positions = { now: async () => new Map(stream.positions.entries()), close: async () => {} };
  const parts = { job, store, source: stream.source(7), positions, done };
  return catchUp(parts, { ...quietSurroundings(), within, follow, signal });
}

/** Scores all that is not published, and gives the features of the last event. */
async function scoreRest(stream: MemoryStream, store: StateStore): Promise<object> {
  const stopping = new AbortController();
  const last = stream.logs[0].length;
  const running = runInMemory(job, { store, source: stream.source(10), sink: stream.sink(), signal: stopping.signal });
  await until(() => stream.positions[0] === last);
  stopping.abort();
  await running;
  return stream.events[stream.events.length - 1].features;
}

const featuresAfter = (count: number) => ({
  'card.count.90d': count,
  'card.sum.amount.90d': (count * (count - 1)) / 2,
  'shop.count.90d': count,
});

describe('catching up with a live group', () => {
  it('stops at its position, however long the log: what is not published is not in the state', async () => {
    await withStore('position', async (store) => {
      const stream = createMemoryStream(2);
      for (let n = 0; n < 100; n++) stream.append(0, record(n));
      stream.positions[0] = 50;
      const done = new Map<string, BackfilledPartition>();
      expect(await catchUpWith(stream, store, { done })).toBe(true);
      expect(await store.fence('tx:0')).toBe(50);
      expect(done.get('tx:0')).toMatchObject({ from: 0, to: 50, events: 50 });
      expect(stream.events).toEqual([]);
      expect(await scoreRest(stream, store)).toEqual(featuresAfter(100));
      expect(stream.events).toHaveLength(50);
    });
  });

  it('goes on behind a group that goes on, and ends when it is near', async () => {
    await withStore('moving', async (store) => {
      const stream = createMemoryStream();
      for (let n = 0; n < 100; n++) stream.append(0, record(n));
      stream.positions[0] = 20;
      stream.hooks.onRead = () => {
        stream.positions[0] = Math.min(90, stream.positions[0]! + 10);
      };
      expect(await catchUpWith(stream, store, { within: 5 })).toBe(true);
      expect(await store.fence('tx:0')).toBeGreaterThanOrEqual(85);
      stream.hooks.onRead = () => {};
      expect(await scoreRest(stream, store)).toEqual(featuresAfter(100));
    });
  });

  it('follows until it is stopped, and stores what it has applied', async () => {
    await withStore('follow', async (store) => {
      const stream = createMemoryStream();
      for (let n = 0; n < 40; n++) stream.append(0, record(n));
      stream.positions[0] = 30;
      const stopping = new AbortController();
      const done = new Map<string, BackfilledPartition>();
      const following = catchUpWith(stream, store, { follow: true, signal: stopping.signal, done });
      await until(() => done.get('tx:0')?.to === 30);
      stream.positions[0] = 40;
      await until(() => done.get('tx:0')?.to === 40);
      stopping.abort();
      await following;
      expect(await store.fence('tx:0')).toBe(40);
    });
  });

  it('leaves a state alone that the new fleet has brought further meanwhile', async () => {
    await withStore('overtaken', async (store) => {
      const stream = createMemoryStream();
      for (let n = 0; n < 30; n++) stream.append(0, record(n));
      await scoreRest(stream, store);
      expect(await store.fence('tx:0')).toBe(30);
      // The answer may be from before the last commit is carried out.
      stream.positions[0] = 25;
      expect(await catchUpWith(stream, store)).toBe(true);
      expect(await store.fence('tx:0')).toBe(30);
      stream.positions[0] = 30;
      stream.append(0, record(30));
      expect(await scoreRest(stream, store)).toEqual(featuresAfter(31));
    });
  });
});
