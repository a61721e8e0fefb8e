import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { UpdateShardCountCommand } from '@aws-sdk/client-kinesis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { runJob } from '../../consumers/job.ts';
import { dynamoClient } from '../../consumers/kinesis/aws.ts';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { type TestKinesis, testKinesis, untilResharded } from '../support/kinesis.ts';
import { memoryJob, quietSurroundings } from '../support/memory-stream.ts';

let services: readonly [AwsService, AwsService];
let kinesis: TestKinesis;
let dynamo: DynamoDBClient;
let folder: string;
let running: Running | undefined;
let loading = new AbortController();
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  services = await Promise.all([startKinesis(), startDynamo()]);
  kinesis = testKinesis(services[0].url);
  dynamo = dynamoClient({ dynamodb_endpoint: services[1].url }, 60_000);
  folder = mkdtempSync(join(tmpdir(), 'weir-reshard-'));
});
afterEach(async () => {
  loading.abort();
  await running?.stop();
});
afterAll(async () => {
  kinesis.close();
  dynamo.destroy();
  await Promise.all(services.map((service) => service.stop()));
  rmSync(folder, { recursive: true });
});

interface Running {
  /** Lets it end, and gives back its shards. @throws what it has ended with by itself. */
  stop(): Promise<void>;
}

interface Scored {
  readonly id: string;
  readonly transaction_id: string;
  readonly features: Readonly<Record<string, number>>;
  readonly partition: number;
}

const cards = 60;
/** The nth of a card each, round and round. */
const transaction = (n: number) => ({
  key: `c${n % cards}`,
  value: JSON.stringify({ id: `t${n}`, ts: 1e12 + n, amount: 1, card: `c${n % cards}` }),
});

/** A stream with a job over it, whose transactions are numbered in the order of their coming. */
async function createPlace(stream: string, shards: number) {
  await Promise.all([
    kinesis.createStream(stream, shards),
    kinesis.createStream(`${stream}-scored`, 1),
    kinesis.createStream(`${stream}-dead`, 1),
  ]);
  let next = 0;
  const read = kinesis.follow(`${stream}-scored`);
  const events: Scored[] = [];

  return {
    put(count: number): Promise<void> {
      const records = Array.from({ length: count }, (_, index) => transaction(next + index));
      next += count;
      return kinesis.put(stream, records);
    },
    async reshard(TargetShardCount: number): Promise<void> {
      const update = { StreamName: stream, TargetShardCount, ScalingType: 'UNIFORM_SCALING' } as const;
      await kinesis.client.send(new UpdateShardCountCommand(update));
      await untilResharded(kinesis.client, stream, TargetShardCount);
    },
    start(source: object = {}): Running {
      const job = memoryJob({
        source: {
          kinesis: {
            stream,
            application: stream,
            endpoint: services[0].url,
            dynamodb_endpoint: services[1].url,
            shard_sync_interval_ms: 1_000,
            checkpoint_interval_ms: 100,
            poll_interval_ms: 200,
            ...source,
          },
        },
        sink: { kinesis: { stream: `${stream}-scored`, dead_letters: `${stream}-dead` } },
        state: { embedded: { path: join(folder, stream) }, flush_interval_ms: 0 },
      });
      const stopping = new AbortController();
      const ended = runJob(job, { ...quietSurroundings(), untilEnd: false, signal: stopping.signal });
      // What it ends with by itself is told by stop().
      ended.catch(() => stopping.abort());
      running = {
        async stop() {
          running = undefined;
          stopping.abort();
          await ended;
        },
      };
      return running;
    },
    /** Once it is known where each open shard begins. */
    async begun(shards: number): Promise<void> {
      const table = await openLeaseTable(dynamo, stream, systemClock);
      for (;;) {
        const leases = await table.list(true);
        if (leases.filter(({ positions }) => positions?.weirCheckpoint !== undefined).length === shards) return;
        await delay(50);
      }
    },
    /** All events, once there are as many. */
    async scored(count: number): Promise<readonly Scored[]> {
      for (;;) {
        for (const { value } of await read()) {
          const { id, data } = JSON.parse(value);
          const { transaction_id, features, source_position } = data;
          events.push({ id, transaction_id, features, partition: source_position.partition });
        }
        if (events.length >= count) return events;
        await delay(100);
      }
    },
    /**
     * Each transaction from this one on is scored once, and its windows have what came before it of its card.
     * @param known how many of each card the windows have from before: as many as the shards have that were open then. Any of them, for all alike.
     */
    expectEachOnce(scored: readonly Scored[], from: number, ...known: readonly number[]): void {
      const numbers = scored.map(({ transaction_id }) => Number(transaction_id.slice(1))).sort((a, b) => a - b);
      expect(numbers).toEqual(Array.from({ length: next - from }, (_, index) => from + index));
      expect(new Set(scored.map(({ id }) => id)).size).toBe(scored.length);
      const wrong = known.map((before) =>
        scored.filter(({ transaction_id, features }) => {
          const wanted = before + 1 + Math.floor((Number(transaction_id.slice(1)) - from) / cards);
          return features['card.count.90d'] !== wanted || features['card.sum.amount.90d'] !== wanted;
        }),
      );
      const [least] = wrong.sort((a, b) => a.length - b.length);
      expect(least.slice(0, 3)).toEqual([]);
    },
    get count() {
      return next;
    },
  };
}

const partitionsOf = (scored: readonly Scored[]) => [...new Set(scored.map(({ partition }) => partition))].sort();

describe('a stream whose number of shards is changed while records come', () => {
  it('has each scored once', async () => {
    const place = await createPlace('count', 2);
    place.start();
    loading = new AbortController();
    const loaded = (async () => {
      while (!loading.signal.aborted) await place.put(cards).then(() => delay(20));
    })();
    try {
      await place.scored(3 * cards);
      for (const shards of [4, 2]) {
        await place.reshard(shards);
        await place.scored(place.count + cards);
      }
    } finally {
      loading.abort();
      await loaded;
    }
    const scored = await place.scored(place.count);
    place.expectEachOnce(scored, 0, 0);
    expect(partitionsOf(scored)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('a job that begins in the middle of a stream', () => {
  it('reads from its start on with latest, also what lies behind a later reshard and a restart', async () => {
    const place = await createPlace('latest', 1);
    await place.put(cards);
    await place.reshard(2);
    await place.put(cards);
    const first = place.start({ start: 'latest' });
    await place.begun(2);
    const from = place.count;
    await place.put(cards);
    await place.reshard(1);
    await place.put(cards);
    await place.scored(2 * cards);
    await first.stop();
    await place.put(cards);
    place.start({ start: 'latest' });
    const scored = await place.scored(3 * cards);
    // Shards that were closed before have no lease.
    place.expectEachOnce(scored, from, 1);
    expect(partitionsOf(scored)).toEqual([1, 2, 3]);
  });

  it('reads from the time on with at-timestamp, of a stream that was resharded before it and after', async () => {
    const place = await createPlace('timestamp', 1);
    await place.put(cards);
    await place.reshard(2);
    await place.put(cards);
    const from = place.count;
    await delay(10);
    const start_at = new Date().toISOString();
    await delay(10);
    await place.put(cards);
    await place.reshard(1);
    await place.put(cards);
    const source = { start: 'at-timestamp', start_at };
    const first = place.start(source);
    await place.scored(2 * cards);
    await first.stop();
    await place.put(cards);
    place.start(source);
    const scored = await place.scored(3 * cards);
    // The shard that was closed right before may count as open at the time.
    place.expectEachOnce(scored, from, 1, 2);
    expect(partitionsOf(scored)).toEqual([1, 2, 3]);
  });
});
