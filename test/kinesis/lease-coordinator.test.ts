import { setTimeout as delay } from 'node:timers/promises';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  CreateStreamCommand,
  type KinesisClient,
  MergeShardsCommand,
  SplitShardCommand,
  waitUntilStreamExists,
} from '@aws-sdk/client-kinesis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { dynamoClient, kinesisClient } from '../../consumers/kinesis/aws.ts';
import { isShardEnd } from '../../consumers/kinesis/checkpoint.ts';
import { kinesisSourceConfig } from '../../consumers/kinesis/config.ts';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import type { HeldLease } from '../../consumers/kinesis/held-lease.ts';
import { createLeaseCoordinator, type LeaseCoordinator } from '../../consumers/kinesis/lease-coordinator.ts';
import type { LeaseTable } from '../../consumers/kinesis/lease-table.ts';
import { listShards } from '../../consumers/kinesis/shard-list.ts';
import type { Shard } from '../../consumers/kinesis/shards.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { seededRandom } from '../../runtime/random.ts';

let services: AwsService[];
let kinesis: KinesisClient;
let dynamo: DynamoDBClient;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  services = await Promise.all([startKinesis(), startDynamo()]);
  const connection = { region: 'us-east-1', endpoint: services[0].url, dynamodb_endpoint: services[1].url };
  kinesis = kinesisClient(connection, 60_000);
  dynamo = dynamoClient(connection, 60_000);
});
afterAll(async () => {
  kinesis.destroy();
  dynamo.destroy();
  await Promise.all(services.map((service) => service.stop()));
});

interface Worker {
  readonly ready: Map<string, HeldLease>;
  readonly coordinator: LeaseCoordinator;
  /** Gives its leases up. */
  leave(): Promise<void>;
  /** Says nothing any more, as after kill -9. */
  crash(): void;
}

let workers: Worker[] = [];
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.leave()));
  workers = [];
});

let streams = 0;
async function createStream(shards: number): Promise<string> {
  const StreamName = `stream-${process.pid}-${streams++}`;
  await kinesis.send(new CreateStreamCommand({ StreamName, ShardCount: shards }));
  await ready(StreamName);
  return StreamName;
}
const ready = (StreamName: string) =>
  waitUntilStreamExists({ client: kinesis, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { StreamName });

/** @param failover_time_ms less than this where a worker crashes: a worker that stands still with the machine keeps its leases. */
async function start(stream: string, worker: string, failover_time_ms = 10_000): Promise<Worker> {
  const config = kinesisSourceConfig.parse({ stream, application: stream, failover_time_ms });
  const found = await openLeaseTable(dynamo, stream, systemClock);
  const stop = new AbortController();
  let hasCrashed = false;
  const unanswered = Promise.withResolvers<never>();
  const over = <T>(answer: Promise<T>) => (hasCrashed ? unanswered.promise : answer);
  const table: LeaseTable = {
    demandShareable: () => over(found.demandShareable()),
    list: () => over(found.list()),
    read: (key) => over(found.read(key)),
    write: (change) => over(found.write(change)),
  };
  const held = new Map<string, HeldLease>();
  const coordinator = createLeaseCoordinator({
    table,
    shards: listShards(kinesis, config),
    worker,
    failoverMs: config.failover_time_ms,
    shardSyncMs: 1_000,
    maxLeases: 100,
    checkpointMs: 0,
    initial: 'TRIM_HORIZON',
    clock: systemClock,
    random: seededRandom(workers.length),
    leaving: stop.signal,
    onReady: (one) => {
      held.set(one.lease.key, one);
      one.revoked.addEventListener('abort', () => held.get(one.lease.key) === one && held.delete(one.lease.key));
    },
  });
  const running = coordinator.run(stop.signal);
  const result: Worker = {
    ready: held,
    coordinator,
    async leave() {
      stop.abort();
      // Nobody waits for an answer any more: what has crashed would else keep its timers, and them the process of the suite.
      if (hasCrashed) unanswered.reject(new WeirError('BROKER', 'the table is out of reach'));
      await running;
    },
    crash() {
      hasCrashed = true;
    },
  };
  workers.push(result);
  return result;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(20);
}

describe('workers on DynamoDB', () => {
  it('share the shards evenly, and take over from one that leaves and from one that crashes', async () => {
    const stream = await createStream(6);
    const one = await start(stream, 'one', 1_500);
    await until(() => one.ready.size === 6);
    const two = await start(stream, 'two', 1_500);
    await until(() => one.ready.size === 3 && two.ready.size === 3);
    await one.leave();
    await until(() => two.ready.size === 6);
    const three = await start(stream, 'three', 1_500);
    await until(() => three.ready.size === 3);
    two.crash();
    await until(() => three.ready.size === 6);
    // Cut off, it has let go by itself.
    await until(() => two.ready.size === 0);
  });

  it('read children after their parents, through a split and a merge, and tidy up', async () => {
    const stream = await createStream(1);
    const config = kinesisSourceConfig.parse({ stream, application: stream });
    const worker = await start(stream, 'one');
    const table = await openLeaseTable(dynamo, stream, systemClock);
    const owned = (shards: readonly Shard[]) =>
      until(async () => {
        const leases = await table.list();
        return shards.every(({ id }) => leases.some(({ key, owner }) => key === id && owner === 'one'));
      });
    const list = () => listShards(kinesis, config).list('all');
    const middle = String(2n ** 127n);
    await until(() => worker.ready.size === 1);
    const [first] = await list();
    await kinesis.send(
      new SplitShardCommand({ StreamName: stream, ShardToSplit: first.id, NewStartingHashKey: middle }),
    );
    await ready(stream);
    const halves = (await list()).filter(({ parents }) => parents.length === 1);
    // The children's leases are there and its own, and still they are not to be read.
    await owned(halves);
    expect([...worker.ready.keys()]).toEqual([first.id]);
    await worker.coordinator.end(worker.ready.get(first.id)!, halves);
    await until(() => halves.every(({ id }) => worker.ready.has(id)));

    const [left, right] = halves.map(({ id }) => id);
    await kinesis.send(new MergeShardsCommand({ StreamName: stream, ShardToMerge: left, AdjacentShardToMerge: right }));
    await ready(stream);
    const merged = (await list()).filter(({ parents }) => parents.length === 2);
    expect(merged).toHaveLength(1);
    await worker.coordinator.end(worker.ready.get(left)!, merged);
    await owned(merged);
    expect(worker.ready.has(merged[0].id)).toBe(false);
    await worker.coordinator.end(worker.ready.get(right)!, merged);
    await until(() => worker.ready.has(merged[0].id));

    const last = worker.ready.get(merged[0].id)!;
    expect((await table.list()).filter(({ checkpoint }) => isShardEnd(checkpoint))).not.toEqual([]);
    await last.make({ kind: 'checkpoint', checkpoint: { sequence: '4968', sub: 0 } });
    await until(async () => (await table.list()).length === 1);
    expect(await table.list()).toMatchObject([
      { key: merged[0].id, parents: [left, right].sort(), checkpoint: { sequence: '4968' } },
    ]);
  });

  it('says that the stream does not exist', async () => {
    const config = kinesisSourceConfig.parse({ stream: 'no-such-stream', application: 'app' });
    await expect(listShards(kinesis, config).list('all')).rejects.toMatchObject({
      code: 'INPUT',
      message: expect.stringMatching(/^stream no-such-stream does not exist in us-east-1;/),
    });
  });
});
