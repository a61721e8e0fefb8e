import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSubStateWriter, decodeSubState } from '../features/codec.ts';
import { compileFeatures } from '../features/definition.ts';
import { createEmbeddedStore } from '../features/embedded/store.ts';
import type { EntityPlan } from '../features/plan.ts';
import { redisStoreConfig } from '../features/redis/config.ts';
import { createRedisStore } from '../features/redis/store.ts';
import type { LoadRequest, StateStore, SubStateChange } from '../features/store.ts';
import { emptySubState, insertEvent, type SubState } from '../features/sub-state.ts';
import { startRedis } from '../infra/services/start.ts';
import { systemClock } from '../runtime/clock.ts';
import { seededRandom } from '../runtime/random.ts';
import { cpuSeconds } from './cpu.ts';
import { report } from './measure.ts';

const batchEntities = 1_000;
const batches = 50;
const eventsPerEntity = 20;
const partition = 'transactions:0';
const owned = new Set([partition]);
/** As a process of a topic with 4 partitions asks for. */
const watched = new Map(Array.from({ length: 4 }, (_, index) => [`transactions:${index}`, -1]));

/** The codec, and load and flush of both stores in batches of 1,000 entities that retain 20 events each. */
export async function benchState(runs: number, only: (name: string) => boolean): Promise<void> {
  const plan = customerPlan();
  const states = Array.from({ length: batchEntities }, (_, index) => sampleState(plan, index));
  if (only('state.codec')) benchCodec(plan, states, runs);
  const stores = ['redis', 'embedded'].filter((name) => only(`state.${name}.load`) || only(`state.${name}.flush`));
  for (const name of stores) await benchStore(name, plan, states, runs);
}

function benchCodec(plan: EntityPlan, states: readonly SubState[], runs: number): void {
  const encoded = encodeAll(plan, states);
  const bytes = encoded.reduce((sum, { length }) => sum + length, 0);
  report('state.codec.size', 'bytes/entity', [bytes / states.length]);
  measurePerEntity('state.codec.encode', runs, () => encodeAll(plan, states));
  measurePerEntity('state.codec.decode', runs, () => {
    for (const entry of encoded) decodeSubState(entry, plan, partition, 1);
  });
}

function measurePerEntity(name: string, runs: number, work: () => void): void {
  const values: number[] = [];
  for (let run = -1; run < runs; run++) {
    const startedAt = performance.now();
    for (let batch = 0; batch < batches; batch++) work();
    if (run >= 0) values.push(perEntity((performance.now() - startedAt) * 1000));
  }
  report(name, 'us/entity', values);
}

const perEntity = (total: number) => total / (batches * batchEntities);

async function benchStore(name: string, plan: EntityPlan, states: readonly SubState[], runs: number): Promise<void> {
  const redis = name === 'redis' ? await startRedis() : undefined;
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  const options = { job: 'bench', recipe: '000000000000', retentionMs: () => plan.retentionMs, clock: systemClock };
  let roundTrips = 0;
  const store = redis
    ? await createRedisStore(redisStoreConfig.parse({ url: redis.url }), { ...options, onCommand: () => roundTrips++ })
    : await createEmbeddedStore({ path: join(folder, 'state') }, options);
  const encoded = encodeAll(plan, states);
  const versions = new Map<string, number>();
  let offset = 0;
  try {
    await measureStore(`state.${name}.flush`, runs, redis?.pid, async (batch) => {
      await store.flush(partition, changesOf(encoded, batch, ++offset), offset);
    });
    if (redis) report(`state.${name}.flush.round-trips`, 'count', [roundTrips / ((runs + 1) * batches)]);
    roundTrips = 0;
    await measureStore(`state.${name}.load`, runs, redis?.pid, async (batch) => {
      const requests = requestsOf(batch, versions);
      const answers = await store.load(requests, owned, watched);
      for (let k = 0; k < answers.length; k++)
        if (answers[k].subStates.length !== 1) throw new Error('state is missing');
    });
    if (redis) report(`state.${name}.load.round-trips`, 'count', [roundTrips / ((runs + 1) * batches)]);
    await learnVersions(store, versions);
    await measureStore(`state.${name}.load-unchanged`, runs, redis?.pid, async (batch) => {
      await store.load(requestsOf(batch, versions), owned, watched);
    });
  } finally {
    await store.close();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Wall time, and CPU time of this process and of the server apart, per entity. */
async function measureStore(
  name: string,
  runs: number,
  server: number | undefined,
  work: (batch: number) => Promise<void>,
): Promise<void> {
  const wall: number[] = [];
  const client: number[] = [];
  const redis: number[] = [];
  for (let run = -1; run < runs; run++) {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    const serverBefore = server === undefined ? 0 : cpuSeconds(server);
    for (let batch = 0; batch < batches; batch++) await work(batch);
    if (run < 0) continue;
    const { user, system } = process.cpuUsage(before);
    wall.push(perEntity((performance.now() - startedAt) * 1000));
    client.push(perEntity(user + system));
    if (server !== undefined) redis.push(perEntity((cpuSeconds(server) - serverBefore) * 1e6));
  }
  report(name, 'us/entity', wall);
  report(`${name}.cpu.worker`, 'us/entity', client);
  if (server !== undefined) report(`${name}.cpu.redis`, 'us/entity', redis);
}

function idOf(batch: number, index: number): string {
  return String(4_000_000_000_000_000 + (((batch * batchEntities + index) * 7_919_000_003) % 999_999_999_989));
}

function changesOf(encoded: readonly Uint8Array[], batch: number, offset: number): SubStateChange[] {
  return encoded.map((bytes, index) => ({ type: 'customer', id: idOf(batch, index), offset, bytes }));
}

function requestsOf(batch: number, versions: ReadonlyMap<string, number>): LoadRequest[] {
  return Array.from({ length: batchEntities }, (_, index) => {
    const id = idOf(batch, index);
    return { type: 'customer', id, version: versions.get(id) ?? 0 };
  });
}

async function learnVersions(store: StateStore, versions: Map<string, number>): Promise<void> {
  for (let batch = 0; batch < batches; batch++) {
    const requests = requestsOf(batch, versions);
    const answers = await store.load(requests, owned);
    for (let k = 0; k < answers.length; k++) versions.set(requests[k].id, answers[k].version);
  }
}

/** The customer's part of the 15-feature set. */
function customerPlan(): EntityPlan {
  const { set } = compileFeatures(
    [{ entity: 'customer', windows: ['1d', '7d', '30d'], aggregates: ['count', 'mean(amount)'], current: 'include' }],
    {},
    { fields: [{ name: 'amount', type: 'money', scale: 2, optional: false }], entities: [{ name: 'customer' }] },
    3_600_000,
  );
  return set!.entities[0];
}

function sampleState(plan: EntityPlan, seed: number): SubState {
  const random = seededRandom(seed);
  const state = emptySubState(plan, partition);
  let time = 1_700_000_000_000;
  for (let event = 0; event < eventsPerEntity; event++) {
    time += Math.floor(random.next() * 86_400_000);
    insertEvent(state, plan, time, Float64Array.of(0, Math.floor(random.next() * 20_000)));
  }
  return state;
}

function encodeAll(plan: EntityPlan, states: readonly SubState[]): Uint8Array[] {
  const writer = createSubStateWriter();
  return states.map((state) => writer.encode(state, plan));
}
