import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { StateStore } from '../../features/store.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  quietSurroundings,
  runInMemory,
  until,
} from '../support/memory-stream.ts';
import { openRedisStore } from '../support/redis.ts';

const minute = 60_000;
const hour = 60 * minute;
const begins = 1_600_000_000_000;
const days = 4;
/** Minutes between the events of each partition: read at one pace, they are soon days apart. */
const paces = [60, 30, 6, 3];
const delayed = 'shop.count.1d.delay-2h';

let redis: RedisService;
beforeAll(async () => {
  redis = await startRedis();
}, 120_000);
afterAll(() => redis?.stop());

let opened: StateStore[] = [];
afterEach(async () => {
  await Promise.all(opened.map((store) => store.close()));
  opened = [];
});

function jobOf(alignment: unknown) {
  const features = [
    { entity: 'card', windows: ['1d'], aggregates: ['count'] },
    { entity: 'shop', windows: ['1d'], delay: '2h', aggregates: ['count'] },
  ];
  return memoryJob({ features, alignment, state: { redis: {}, flush_interval_ms: 1000 } });
}

/** A process's store of its own, of state that the test's processes share. */
async function open(name: string): Promise<StateStore> {
  const store = await openRedisStore({ url: redis.url, groups: 4 }, { job: name });
  opened.push(store);
  return store;
}

const record = (partition: number, n: number) => ({
  id: `${partition}:${n}`,
  ts: begins + (n * paces[partition] * minute + partition),
  amount: 1,
  card: `c${partition}`,
  shop: `s${n % 3}`,
});

function unevenStream(): MemoryStream {
  const stream = createMemoryStream(paces.length);
  for (const [partition, pace] of paces.entries()) {
    for (let n = 0; n < (days * 24 * 60) / pace; n++) stream.append(partition, record(partition, n));
  }
  return stream;
}

/** By event, what all partitions together have of its shop in the window. */
function bruteForce({ logs }: MemoryStream): Map<string, number> {
  const all = logs.flat().map((bytes) => JSON.parse(bytes.toString()) as ReturnType<typeof record>);
  return new Map(
    all.map(({ id, ts, shop }) => {
      const isWithin = (time: number) => time <= ts - 2 * hour && time > ts - 26 * hour;
      return [id, all.filter((other) => other.shop === shop && isWithin(other.ts)).length];
    }),
  );
}

/** Two processes work the stream off, each with half of its partitions. Gives the events that are not as brute force says. */
async function workOff(name: string, stream: MemoryStream, alignment: unknown) {
  const job = jobOf(alignment);
  const stopping = new AbortController();
  const surroundings = quietSurroundings();
  const running = [
    [0, 3],
    [1, 2],
  ].map(async (own) =>
    runInMemory(job, {
      store: await open(name),
      source: stream.source(50, own),
      sink: stream.sink(),
      signal: stopping.signal,
      surroundings,
    }),
  );
  const total = stream.logs.reduce((sum, log) => sum + log.length, 0);
  await until(() => stream.events.length === total);
  stopping.abort();
  await Promise.all(running);
  const wanted = bruteForce(stream);
  const wrong = stream.events.filter(({ transaction_id: id, features }) => features[delayed] !== wanted.get(id));
  return { wrong, metrics: await surroundings.metrics.text() };
}

const heldSeconds = (metrics: string) =>
  [...metrics.matchAll(/^weir_held_seconds_total\{.*\} (\S+)$/gm)].reduce(
    (sum, [, seconds]) => sum + Number(seconds),
    0,
  );

describe('partitions whose backlogs are days apart, in two processes', () => {
  it('are in step: delayed features of what they share are what brute force says, and none is marked', async () => {
    const stream = unevenStream();
    const { wrong, metrics } = await workOff('in-step', stream, {});
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(stream.events.filter(({ feature_state }) => feature_state?.[delayed] === 'stale')).toEqual([]);
    expect(heldSeconds(metrics)).toBeGreaterThan(0);
  }, 120_000);

  it('are not, where each goes at its own pace', async () => {
    const { wrong, metrics } = await workOff('own-pace', unevenStream(), false);
    expect(wrong.length).toBeGreaterThan(0);
    expect(heldSeconds(metrics)).toBe(0);
  }, 120_000);
});

describe('a partition that waits for one that nobody has', () => {
  it('goes on when its patience is over, and says what may be missing', async () => {
    const stream = unevenStream();
    const stopping = new AbortController();
    const running = runInMemory(jobOf({ patience_ms: 50 }), {
      store: await open('nobody'),
      source: stream.source(50, [0, 1, 2]),
      sink: stream.sink(),
      signal: stopping.signal,
    });
    await until(() => stream.positions[0] === stream.logs[0].length);
    stopping.abort();
    await running;
    const states = stream.events.map(({ feature_state }) => feature_state?.[delayed]);
    expect(new Set(states)).toEqual(new Set(['stale']));
    expect(stream.events.some(({ feature_state }) => feature_state?.['card.count.1d'] === 'stale')).toBe(false);
  });

  it.each(['signal', 'revocation'])('is left at once, by a %s', async (how) => {
    const stream = unevenStream();
    const stopping = new AbortController();
    const surroundings = quietSurroundings();
    const source = stream.source(50, [0]);
    const running = runInMemory(jobOf({ patience_ms: 86_400_000 }), {
      store: await open(how),
      source,
      sink: stream.sink(),
      signal: stopping.signal,
      surroundings,
    });
    while (heldSeconds(await surroundings.metrics.text()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    if (how === 'revocation') {
      source.revoke(0);
      while (/^weir_owned_partitions 1/m.test(await surroundings.metrics.text()))
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    stopping.abort();
    await running;
    expect(stream.events).toEqual([]);
  });
});
