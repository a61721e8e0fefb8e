import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { StateStore } from '../../features/store.ts';
import { ask } from '../../infra/services/redis-commands.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { createMemoryStream, type MemoryStream, memoryJob, runInMemory, until } from '../support/memory-stream.ts';
import { openRedisStore } from '../support/redis.ts';

/** Hardly anything stays in memory: what Redis has lost cannot be hidden by it. */
const job = memoryJob({
  state: { embedded: { path: 'unused' }, flush_interval_ms: 0, refresh_ms: 0, cache_entities: 2 },
});
const perPartition = 200;
const cards = 20;
const shops = 5;

let redis: RedisService;
let jobs = 0;
beforeAll(async () => {
  delete process.env.WEIR_TEST_REDIS_URL;
  redis = await startRedis();
}, 120_000);
afterAll(() => redis?.stop());

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const record = (partition: number, n: number) => ({
  id: `${partition}-${n}`,
  ts: 1e12 + n,
  amount: 1,
  card: `c${partition}-${n % cards}`,
  shop: `s${n % shops}`,
});

function append(stream: MemoryStream, partition: number, from: number, to: number): void {
  for (let n = from; n < to; n++) stream.append(partition, record(partition, n));
}

/** Processes that own the given partitions each, over stores of their own. */
async function start(stream: MemoryStream, owners: readonly (readonly number[])[]): Promise<StateStore[]> {
  const name = `loss-${jobs++}`;
  const stopping = new AbortController();
  const stores = await Promise.all(
    owners.map(() => openRedisStore({ url: redis.url, groups: 4 }, { job: name, recipe: job.set.recipe })),
  );
  const running = owners.map((own, index) =>
    runInMemory(job, {
      store: stores[index],
      source: stream.source(10, own),
      sink: stream.sink(),
      signal: stopping.signal,
    }),
  );
  ends.push(async () => {
    stopping.abort();
    await Promise.all(running);
    for (const store of stores) await store.close();
  });
  return stores;
}

async function stored(store: StateStore, fences: readonly number[]): Promise<void> {
  for (const [partition, fence] of fences.entries()) {
    while ((await store.fence(`tx:${partition}`)) !== fence) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe.each([
  ['one process', [[0, 1]]],
  ['two processes', [[0], [1]]],
])('Redis loses everything under %s', (_, owners) => {
  it('no event misses history without saying so, and all is right again', async () => {
    const stream = createMemoryStream(2);
    for (const partition of [0, 1]) append(stream, partition, 0, perPartition);
    await start(stream, owners);
    const reader = await openRedisStore(
      { url: redis.url, groups: 4 },
      { job: `loss-${jobs - 1}`, recipe: job.set.recipe },
    );
    ends.push(() => reader.close());
    await stored(reader, [perPartition, perPartition]);
    const before = stream.events.length;
    await ask(redis, 'FLUSHALL');
    append(stream, 0, perPartition, 2 * perPartition);
    await until(() => stream.events.length === before + perPartition);
    const after = stream.events.slice(before);
    let stale = 0;
    for (const [index, { features, feature_state = {} }] of after.entries()) {
      const n = perPartition + index;
      const [card, shop] = [Math.floor(n / cards) + 1, Math.floor(n / shops) + 1 + perPartition / shops];
      expect([n, features['card.count.90d'], feature_state['card.count.90d']]).toEqual([n, card, undefined]);
      if (feature_state['shop.count.90d'] === 'stale') stale++;
      else expect([n, features['shop.count.90d']]).toEqual([n, shop]);
    }
    expect(stale).toBeGreaterThan(0);
    // The other partition finds it out with its own next event.
    append(stream, 1, perPartition, perPartition + 1);
    await stored(reader, [2 * perPartition, perPartition + 1]);
    append(stream, 0, 2 * perPartition, 2 * perPartition + 1);
    await until(() => stream.events.length === before + perPartition + 2);
    const { features, feature_state } = stream.events.at(-1)!;
    expect([features['shop.count.90d'], feature_state]).toEqual([(3 * perPartition) / shops + 2, {}]);
  });
});
