import { afterEach, describe, expect, it } from '@jest/globals';
import type { StateStore } from '../../features/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { createReadiness, type Readiness } from '../../runtime/http.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  quietSurroundings,
  runInMemory,
  type SeenEvent,
  until,
} from '../support/memory-stream.ts';
import { openRedisStore } from '../support/redis.ts';

const perPhase = 200;
const cards = 20;
const shops = 5;
const state = { embedded: { path: 'unused' }, flush_interval_ms: 0, when_away: 'degrade' };
/** Some of the cards are in memory at any time, and some are not. */
const job = memoryJob({ state: { ...state, cache_entities: 16 } });

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Every other event of the one partition is of a card that never leaves the memory: what the other brings is no more than one card. */
const cardOf = (partition: number, n: number) => (partition === 1 || n % 2 === 0 ? 'often' : `${n % cards}`);

/** How many events its card has had, this one included. */
function countAt(transaction: string): number {
  const [partition, n] = transaction.split('-').map(Number);
  let count = 0;
  for (let before = 0; before <= n; before++) if (cardOf(partition, before) === cardOf(partition, n)) count++;
  return count;
}

const record = (partition: number, n: number) => ({
  id: `${partition}-${n}`,
  ts: 1e12 + n,
  amount: 1,
  card: `c${partition}-${cardOf(partition, n)}`,
  shop: `s${n % shops}`,
});

function append(stream: MemoryStream, from: number, to: number): void {
  for (const partition of [0, 1]) for (let n = from; n < to; n++) stream.append(partition, record(partition, n));
}

interface Running {
  readonly stream: MemoryStream;
  readonly store: StateStore;
  readonly readiness: Readiness;
  metric(name: string): Promise<number>;
}

let jobs = 0;

async function start(
  redis: RedisService,
  stream = createMemoryStream(2),
  beforeRun = async () => {},
): Promise<Running> {
  const settings = { url: redis.url, groups: 4 };
  const options = { job: `degrade-${jobs++}`, recipe: job.set.recipe };
  const [store, reader] = [await openRedisStore(settings, options), await openRedisStore(settings, options)];
  const readiness = createReadiness([], () => {});
  const surroundings = { ...quietSurroundings(), readiness };
  const stopping = new AbortController();
  await beforeRun();
  const running = runInMemory(job, {
    store,
    source: stream.source(10),
    sink: stream.sink(),
    signal: stopping.signal,
    surroundings,
  });
  ends.push(async () => {
    stopping.abort();
    await running;
    await Promise.all([store.close(), reader.close()]);
  });
  const metric = async (name: string) =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await surroundings.metrics.text())?.[1]);
  return { stream, store: reader, readiness, metric };
}

/** Waits, whether the store is there or not, until it has both partitions through the position. */
async function stored({ store }: Running, position: number): Promise<void> {
  for (const partition of ['tx:0', 'tx:1']) {
    while ((await store.fence(partition).catch(() => undefined)) !== position)
      await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Both counts of an event by brute force; of its shop, those of its own partition are the least. */
function check({ transaction_id, features, feature_state = {} }: SeenEvent): { isMarked: boolean } {
  const n = Number(transaction_id.split('-')[1]);
  const [card, shop] = [features['card.count.90d'], features['shop.count.90d']];
  const cardState = feature_state['card.count.90d'];
  if (cardState === undefined) expect([transaction_id, card]).toEqual([transaction_id, countAt(transaction_id)]);
  else expect([transaction_id, cardState]).toEqual([transaction_id, 'incomplete']);
  if (feature_state['shop.count.90d'] === undefined) expect(shop).toBeGreaterThanOrEqual(Math.floor(n / shops) + 1);
  return { isMarked: cardState !== undefined };
}

function expectOnce({ events }: MemoryStream, count: number): void {
  expect({ all: events.length, distinct: new Set(events.map((event) => event.transaction_id)).size }).toEqual({
    all: count,
    distinct: count,
  });
}

/** One event more of each partition's next card and shop: all that came before counts, once. */
async function expectWhole({ stream }: Running, n: number): Promise<void> {
  const before = stream.events.length;
  append(stream, n, n + 1);
  await until(() => stream.events.length === before + 2);
  const last = stream.events.slice(before);
  const counts = last.map(({ features }) => features['card.count.90d']);
  expect(counts).toEqual(last.map(({ transaction_id }) => countAt(transaction_id)));
  expect(last[1].features['shop.count.90d']).toBe(2 * (Math.floor(n / shops) + 1));
  for (const { feature_state } of last) expect(feature_state).toEqual({});
}

describe('when_away: degrade', () => {
  it.each([
    ['with its data', ['--appendonly', 'yes', '--appendfsync', 'always']],
    ['empty', ['--appendonly', 'no']],
  ])(
    'goes on while Redis is away, marks what it misses, and is right when Redis is back %s',
    async (_, args) => {
      const redis = await startRedis({ args });
      ends.push(() => redis.stop());
      const running = await start(redis);
      const { stream, readiness } = running;
      append(stream, 0, perPhase);
      await stored(running, perPhase);
      await redis.kill();
      append(stream, perPhase, 2 * perPhase);
      await until(() => stream.events.length === 4 * perPhase);
      const marked = stream.events.map(check).filter(({ isMarked }) => isMarked).length;
      // How many depends on what is in memory when Redis goes; whatever differs has been found marked.
      expect(marked).toBeLessThan(2 * perPhase);
      expect(readiness.troubles()).toEqual({});
      // One that needs nothing of the store finds out with its next flush.
      await until(() => ['partition tx:0', 'partition tx:1'].every((name) => name in readiness.degradations()));
      expect(await running.metric('weir_degraded_partitions')).toBe(2);
      expect(await running.metric('weir_degraded_events_total')).toBeGreaterThanOrEqual(marked);
      await redis.restart();
      await stored(running, 2 * perPhase);
      await until(() => Object.keys(readiness.degradations()).length === 0);
      await expectWhole(running, 2 * perPhase);
      expect(readiness.degradations()).toEqual({});
      expect(await running.metric('weir_degraded_partitions')).toBe(0);
      expectOnce(stream, 4 * perPhase + 2);
    },
    60_000,
  );

  it('keeps no more in memory than it may while Redis is away', async () => {
    const redis = await startRedis({ args: ['--appendonly', 'no'] });
    ends.push(() => redis.stop());
    const running = await start(redis);
    append(running.stream, 0, 10);
    await stored(running, 10);
    await redis.kill();
    for (let n = 10; n < 3_000; n++) running.stream.append(0, { ...record(0, n), card: `new-${n}` });
    await until(() => running.stream.events.length === 10 + 3_000);
    // Two generations of cards and of shops, and what a batch holds.
    expect(await running.metric('weir_state_entities')).toBeLessThan(200);
  }, 60_000);

  it('marks a repetition that it cannot tell from a new event, and does not count it in the end', async () => {
    const redis = await startRedis({ args: ['--appendonly', 'no'] });
    ends.push(() => redis.stop());
    const running = await start(redis);
    const { stream } = running;
    const [first, again] = [record(0, 0), { ...record(0, 0), ts: 1e12 + 500 }];
    stream.append(0, first);
    // Until the card is not in memory any more.
    for (let n = 1; n < 200; n++) stream.append(0, { ...record(0, n), card: `other-${n}` });
    stream.append(1, record(1, 0));
    await until(() => stream.events.length === 201);
    while ((await running.store.fence('tx:0')) !== 200) await new Promise((resolve) => setTimeout(resolve, 5));
    await redis.kill();
    stream.append(0, again, { ...again, id: 'next', ts: again.ts + 1 });
    await until(() => stream.events.length === 203);
    for (const { feature_state } of stream.events.slice(-2)) {
      expect(feature_state).toMatchObject({ 'card.count.90d': 'incomplete' });
    }
    await redis.restart();
    while ((await running.store.fence('tx:0').catch(() => undefined)) !== 202)
      await new Promise((resolve) => setTimeout(resolve, 10));
    await until(() => Object.keys(running.readiness.degradations()).length === 0);
    stream.append(0, { ...again, id: 'last', ts: again.ts + 2 });
    await until(() => stream.events.length === 204);
    expect(stream.events.at(-1)).toMatchObject({ features: { 'card.count.90d': 3 } });
  }, 60_000);

  it('begins without Redis, with every entity marked, and is right when Redis is back', async () => {
    const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    ends.push(() => redis.stop());
    const stream = createMemoryStream(2);
    append(stream, 0, perPhase);
    for (const partition of [0, 1]) stream.positions[partition] = 100;
    const running = await start(redis, stream, () => redis.kill());
    await until(() => stream.events.length === 2 * (perPhase - 100));
    for (const { feature_state } of stream.events) {
      expect(feature_state).toMatchObject({ 'card.count.90d': 'incomplete', 'shop.count.90d': 'incomplete' });
    }
    await redis.restart();
    await stored(running, perPhase);
    await until(() => Object.keys(running.readiness.degradations()).length === 0);
    await expectWhole(running, perPhase);
    expectOnce(stream, 2 * (perPhase - 100) + 2);
  }, 60_000);
});
