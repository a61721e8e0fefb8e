import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { StateStore } from '../../features/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  openStateIn,
  quietSurroundings,
  runInMemory,
  until,
} from '../support/memory-stream.ts';
import { openRedisStore } from '../support/redis.ts';

const job = memoryJob();
const published = 50;
const batchRecords = 10;

let redis: RedisService;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-recovery-'));
  redis = await startRedis();
}, 120_000);
afterAll(async () => {
  await redis?.stop();
  rmSync(folder, { recursive: true, force: true });
});

let opened: StateStore[] = [];
afterEach(async () => {
  await Promise.all(opened.map((store) => store.close()));
  opened = [];
});

async function open(kind: string, name: string): Promise<StateStore> {
  const store = await stores[kind](name);
  opened.push(store);
  return store;
}

const stores: Record<string, (name: string) => Promise<StateStore>> = {
  embedded: (name) => openStateIn(join(folder, name), job, name),
  redis: (name) => openRedisStore({ url: redis.url, groups: 2 }, { job: name, recipe: job.set.recipe }),
};

const record = (n: number) => ({ id: `t${n}`, ts: 1e12 + n, amount: n, card: 'c', shop: 's' });

/** A stream whose first records are published, while the store has nothing of them. */
function withLostState(): MemoryStream {
  const stream = createMemoryStream();
  for (let n = 0; n < published; n++) stream.append(0, record(n));
  stream.positions[0] = published;
  return stream;
}

/** Runs until `leave` is called, by a signal or because the partition goes to somebody else. */
async function runUntilLeft(
  stream: MemoryStream,
  store: StateStore,
  how: 'signal' | 'revocation',
  leaveWhen: (leave: () => void) => void,
): Promise<void> {
  const stopping = new AbortController();
  const source = stream.source(batchRecords);
  leaveWhen(() => {
    if (how === 'signal') stopping.abort();
    else source.revoke(0);
  });
  const running = runInMemory(job, { store, source, sink: stream.sink(), signal: stopping.signal });
  await until(() => (how === 'signal' ? stopping.signal.aborted : stream.hooks.onRead === ended));
  if (how === 'revocation') stopping.abort();
  await running;
}

/** Marks that the stream's hooks have done what they were there for. */
const ended: MemoryStream['hooks']['onRead'] = () => {};

/** Scores one more event, and gives its features: those of an undisturbed run are the number of events and the sum. */
async function featuresOfNext(stream: MemoryStream, store: StateStore): Promise<object> {
  stream.append(0, record(published));
  const stopping = new AbortController();
  const running = runInMemory(job, {
    store,
    source: stream.source(batchRecords),
    sink: stream.sink(),
    signal: stopping.signal,
  });
  await until(() => stream.events.length > 0);
  stopping.abort();
  await running;
  expect(stream.events).toHaveLength(1);
  return stream.events[0].features;
}

const undisturbed = {
  'card.count.90d': published + 1,
  'card.sum.amount.90d': ((published + 1) * published) / 2,
  'shop.count.90d': published + 1,
};

describe.each(Object.keys(stores))('a recovery that is interrupted, %s store', (kind) => {
  describe.each(['signal', 'revocation'] as const)('by a %s', (how) => {
    it.each([0, 10, 20, 30, 40])('while it reads at %d: the next owner goes on from there', async (place) => {
      const stream = withLostState();
      const store = await open(kind, `${kind}-${how}-${place}`);
      await runUntilLeft(stream, store, how, (leave) => {
        stream.hooks.onRead = (_, position) => {
          if (position !== place) return;
          leave();
          stream.hooks.onRead = ended;
        };
      });
      expect((await store.fence('tx:0')) ?? 0).toBeLessThanOrEqual(place + batchRecords);
      expect(stream.events).toEqual([]);
      expect(await featuresOfNext(stream, store)).toEqual(undisturbed);
    });

    it('before it begins: nothing is taken for stored', async () => {
      const stream = withLostState();
      const store = await open(kind, `${kind}-${how}-position`);
      await runUntilLeft(stream, store, how, (leave) => {
        stream.hooks.onPosition = () => {
          leave();
          stream.hooks.onRead = ended;
        };
      });
      stream.hooks.onPosition = () => {};
      expect((await store.fence('tx:0')) ?? 0).toBe(0);
      expect(await featuresOfNext(stream, store)).toEqual(undisturbed);
    });
  });
});

it('is not ready before its state is recovered, and says how far that goes', async () => {
  const stream = withLostState();
  const store = await open('embedded', 'readiness');
  const surroundings = quietSurroundings();
  const troubles: [number, string | undefined][] = [];
  stream.hooks.onRead = (_, position) => {
    troubles.push([position, surroundings.readiness.troubles()['partition tx:0']]);
  };
  const stopping = new AbortController();
  const source = stream.source(batchRecords);
  const running = runInMemory(job, { store, source, sink: stream.sink(), signal: stopping.signal, surroundings });
  stream.append(0, record(published));
  await until(() => stream.events.length > 0);
  stopping.abort();
  await running;
  const places = [...new Set(troubles.map(([position]) => position))];
  expect(places.slice(0, 6)).toEqual([0, 10, 20, 30, 40, 50]);
  for (const [position, trouble] of troubles) {
    if (position < published) expect(trouble).toContain(`from offset 0 to ${published}`);
    else expect(trouble).toBeUndefined();
  }
});
