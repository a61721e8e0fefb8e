import { afterEach, describe, expect, it } from '@jest/globals';
import { type RedisCluster, startRedisCluster } from '../../infra/services/redis-cluster.ts';
import { type RedisReplicated, startRedisReplica } from '../../infra/services/redis-replica.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  quietSurroundings,
  runInMemory,
  until,
} from '../support/memory-stream.ts';
import { openRedisStore } from '../support/redis.ts';

const job = memoryJob({ state: { embedded: { path: 'unused' }, flush_interval_ms: 0, cache_entities: 40 } });
const cards = 50;
const shops = 7;
const perPhase = 400;

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function append(stream: MemoryStream, from: number, to: number): void {
  for (const partition of [0, 1]) {
    for (let n = from; n < to; n++) {
      const [card, shop] = [`c${partition}-${n % cards}`, `s${n % shops}`];
      stream.append(partition, { id: `${partition}-${n}`, ts: 1e12 + n, amount: 1, card, shop });
    }
  }
}

/** Runs the job over the store; gives the partitions' events and how many were applied again. */
async function start(settings: object) {
  const stream = createMemoryStream(2);
  const options = { job: 'promotion', recipe: job.set.recipe };
  const [store, reader] = [await openRedisStore(settings, options), await openRedisStore(settings, options)];
  const surroundings = quietSurroundings();
  const stopping = new AbortController();
  const running = runInMemory(job, {
    store,
    source: stream.source(20),
    sink: stream.sink(),
    signal: stopping.signal,
    surroundings,
  });
  ends.push(async () => {
    stopping.abort();
    await running;
    await Promise.all([store.close(), reader.close()]);
  });
  const stored = async (position: number) => {
    for (const partition of ['tx:0', 'tx:1']) {
      while ((await reader.fence(partition).catch(() => undefined)) !== position)
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const recovered = async () =>
    Number(/^weir_recovered_events_total (\d+)$/m.exec(await surroundings.metrics.text())?.[1]);
  return { stream, stored, recovered };
}

/** Each event once, with the counts of a run without faults; only what partitions share may be stale. */
function expectExact({ events }: MemoryStream, count: number): void {
  expect(new Set(events.map((event) => event.transaction_id)).size).toBe(count);
  expect(events).toHaveLength(count);
  for (const { transaction_id, features, feature_state = {} } of events) {
    const n = Number(transaction_id.split('-')[1]);
    const { 'card.count.90d': card, 'shop.count.90d': shop } = features;
    expect([transaction_id, card, feature_state['card.count.90d']]).toEqual([
      transaction_id,
      Math.floor(n / cards) + 1,
      undefined,
    ]);
    if (feature_state['shop.count.90d'] !== 'stale') expect(shop).toBeGreaterThanOrEqual(Math.floor(n / shops) + 1);
  }
}

async function expectWhole(stream: MemoryStream, n: number): Promise<void> {
  const before = stream.events.length;
  append(stream, n, n + 1);
  await until(() => stream.events.length === before + 2);
  const last = stream.events.at(-1)!;
  expect([last.features['shop.count.90d'], last.feature_state]).toEqual([2 * (Math.floor(n / shops) + 1), {}]);
}

describe('a promotion that loses the last writes, under load', () => {
  it('of a replica: what was lost is applied again, and no value is wrong', async () => {
    const redis: RedisReplicated = await startRedisReplica();
    ends.push(() => redis.stop());
    const { stream, stored, recovered } = await start({ url: redis.url });
    append(stream, 0, perPhase);
    await stored(perPhase);
    await redis.caughtUp();
    await redis.cutReplication();
    append(stream, perPhase, 2 * perPhase);
    await stored(2 * perPhase);
    append(stream, 2 * perPhase, 3 * perPhase);
    await until(() => stream.events.length > 4 * perPhase + 100);
    await redis.primary.kill();
    await redis.promote();
    await until(() => stream.events.length === 6 * perPhase);
    await stored(3 * perPhase);
    expectExact(stream, 6 * perPhase);
    expect(await recovered()).toBeGreaterThanOrEqual(2 * perPhase);
    await expectWhole(stream, 3 * perPhase);
  }, 120_000);

  it('of one node of a cluster, and of one that comes back empty: only its groups are made anew', async () => {
    const cluster: RedisCluster = await startRedisCluster({ replicas: true });
    ends.push(() => cluster.stop());
    const { stream, stored, recovered } = await start({ cluster: cluster.addresses });
    append(stream, 0, perPhase);
    await stored(perPhase);
    await cluster.caughtUp();
    await cluster.primaries[1].kill();
    append(stream, perPhase, 2 * perPhase);
    await cluster.promote(1);
    await until(() => stream.events.length === 4 * perPhase);
    await stored(2 * perPhase);
    const before = await recovered();
    // Without its replica the node comes back empty, as the primary that it was.
    await cluster.replicas[0].kill();
    await cluster.primaries[0].kill();
    await cluster.primaries[0].restart();
    append(stream, 2 * perPhase, 3 * perPhase);
    await until(() => stream.events.length === 6 * perPhase);
    await stored(3 * perPhase);
    expect((await recovered()) - before).toBeGreaterThanOrEqual(4 * perPhase);
    expectExact(stream, 6 * perPhase);
    await expectWhole(stream, 3 * perPhase);
  }, 120_000);
});
