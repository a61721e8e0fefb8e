import { redisStoreConfig } from '../features/redis/config.ts';
import { createRedisStore } from '../features/redis/store.ts';
import type { StateStore } from '../features/store.ts';
import { startRedis } from '../infra/services/start.ts';
import { systemClock } from '../runtime/clock.ts';
import { batchOf, createProcess } from '../test/support/feature-process.ts';
import { report } from './measure.ts';

const sizes = [10_000, 1_000_000];
const fillEvents = 10_000;
const batchEvents = 500;
const [taken, kept] = ['t:0', 't:1'];

type Process = ReturnType<typeof createProcess>;

/**
 * A partition whose former owner has stored so many entities is taken over by a process that holds as many of another partition in memory:
 * milliseconds from the gain to the first batch applied, and for the next batch of the partition that it had before.
 */
export async function benchTakeOver(runs: number, only: (name: string) => boolean): Promise<void> {
  for (const entities of sizes) if (only(`take-over.${entities}`)) await benchSize(entities, runs);
}

async function benchSize(entities: number, runs: number): Promise<void> {
  const redis = await startRedis();
  const store = await createRedisStore(redisStoreConfig.parse({ url: redis.url }), {
    job: 'bench',
    recipe: '000000000000',
    retentionMs: () => 86_400_000,
    onCommand: () => {},
    clock: systemClock,
  });
  try {
    await fill(createProcess(store, 2 * fillEvents, 'card'), store, taken, entities);
    const heir = createProcess(store, 4 * entities, 'card');
    await fill(heir, store, kept, entities);
    const first: number[] = [];
    const next: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const [took, went] = await takeOver(heir, store, entities, run);
      if (run === 0) continue;
      first.push(took);
      next.push(went);
    }
    report(`take-over.${entities}.first-batch`, 'ms', first);
    report(`take-over.${entities}.other-partition`, 'ms', next);
  } finally {
    await store.close();
    await redis.stop();
  }
}

async function fill(
  { engine, apply, flush }: Process,
  store: StateStore,
  partition: string,
  entities: number,
): Promise<void> {
  engine.gain(partition, 2);
  await store.fence(partition);
  for (let from = 0; from < entities; from += fillEvents) {
    await apply(partition, someEvents(partition, from, from, fillEvents), 'card.count.1h');
    await flush(partition);
  }
}

async function takeOver(
  { engine, apply }: Process,
  store: StateStore,
  entities: number,
  run: number,
): Promise<[number, number]> {
  const behind = entities + run * batchEvents;
  const firstCard = run * batchEvents;
  const startedAt = performance.now();
  engine.gain(taken, 2);
  await store.fence(taken);
  const counts = await apply(taken, someEvents(taken, behind, firstCard, batchEvents), 'card.count.1h');
  const tookAt = performance.now();
  await apply(kept, someEvents(kept, behind, firstCard, batchEvents), 'card.count.1h');
  const wentAt = performance.now();
  if (counts.length !== batchEvents) throw new Error('the batch was not applied');
  engine.lose(taken);
  return [tookAt - startedAt, wentAt - tookAt];
}

/** Events of as many cards of the partition, all within an hour. */
function someEvents(partition: string, offset: number, firstCard: number, count: number) {
  const batch = batchOf(Array.from({ length: count }, (_, n) => offset + n));
  const cards = Array.from({ length: count }, (_, n) => `${partition} ${firstCard + n}`);
  return { ...batch, times: new Float64Array(count).fill(1_000_000), entityIds: [cards, cards.map(() => '')] };
}
