import {
  ListShardsCommand,
  type ListShardsCommandOutput,
  MergeShardsCommand,
  SplitShardCommand,
} from '@aws-sdk/client-kinesis';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord, type PublishedRecord } from '../support/handbook-job.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';
import { startWeir, type WeirProcess } from '../support/weir-process.ts';

/** The proof in full takes 100,000. */
const rowCount = Number(process.env.WEIR_TEST_KINESIS_ROWS ?? 6_000);

let kinesisService: AwsService;
let dynamo: AwsService;
let redis: RedisService;
let kinesis: TestKinesis;
const running = new Set<WeirProcess>();

beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  [kinesisService, dynamo, redis] = await Promise.all([startKinesis(), startDynamo(), startRedis()]);
  kinesis = testKinesis(kinesisService.url);
}, 120_000);

afterAll(async () => {
  for (const weir of running) weir.kill('SIGKILL');
  kinesis?.close();
  await Promise.all([kinesisService?.stop(), dynamo?.stop(), redis?.stop()]);
});

const names = { in: 'transactions', scored: 'risk-scored', dead: 'risk-dead-letters' };

function start(): WeirProcess {
  const settings = { 'metrics.port': 0, 'log.level': 'warn', 'source.kinesis.failover_time_ms': 4_000 };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const weir = startWeir(['run', '--config', 'examples/handbook/kinesis.yaml', ...overrides], {
    ...emulatorEnv,
    AWS_ENDPOINT_URL_KINESIS: kinesisService.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    REDIS_URL: redis.url,
  });
  running.add(weir);
  return weir;
}

interface Scored extends Pick<PublishedRecord, 'data'> {
  readonly id: string;
}

async function scored(): Promise<Scored[]> {
  return (await kinesis.read(names.scored)).map(({ value }) => JSON.parse(value) as Scored);
}

/** Waits until so many different transactions are scored. */
async function scoredAtLeast(count: number): Promise<Scored[]> {
  for (;;) {
    const events = await scored();
    if (new Set(events.map(({ data }) => data.transaction_id)).size >= count) return events;
    for (const weir of running) if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function openShards(): Promise<NonNullable<ListShardsCommandOutput['Shards']>> {
  const { Shards } = await kinesis.client.send(new ListShardsCommand({ StreamName: names.in }));
  return (Shards ?? []).filter(({ SequenceNumberRange }) => SequenceNumberRange!.EndingSequenceNumber === undefined);
}

async function splitFirst(): Promise<void> {
  const [{ ShardId, HashKeyRange }] = await openShards();
  const middle = (BigInt(HashKeyRange!.StartingHashKey!) + BigInt(HashKeyRange!.EndingHashKey!)) / 2n;
  const split = { StreamName: names.in, ShardToSplit: ShardId!, NewStartingHashKey: String(middle) };
  await kinesis.client.send(new SplitShardCommand(split));
}

/** Merges the two open shards with the greatest hash keys. */
async function mergeLast(): Promise<void> {
  const start = ({ HashKeyRange }: { HashKeyRange?: { StartingHashKey?: string } }) =>
    BigInt(HashKeyRange!.StartingHashKey!);
  const [left, right] = (await openShards()).sort((a, b) => Number(start(a) - start(b))).slice(-2);
  const merge = { StreamName: names.in, ShardToMerge: left.ShardId!, AdjacentShardToMerge: right.ShardId! };
  await kinesis.client.send(new MergeShardsCommand(merge));
}

describe('the Handbook job on Kinesis', () => {
  it('scores each transaction through a split, a merge and a kill -9, with customer features equal to brute force', async () => {
    const rows = await readHandbook(rowCount);
    const wanted = bruteForceFeatures(rows);
    await kinesis.createStream(names.in, 4);
    await kinesis.createStream(names.scored, 2);
    await kinesis.createStream(names.dead, 1);
    const put = (part: readonly HandbookRow[]) => kinesis.put(names.in, part.map(handbookRecord));
    const fifth = Math.ceil(rows.length / 5);
    const part = (n: number) => rows.slice(n * fifth, (n + 1) * fifth);

    const doomed = start();
    start();
    await put(part(0));
    await splitFirst();
    await put(part(1));
    await scoredAtLeast(fifth);
    await put(part(2));
    await mergeLast();
    doomed.kill('SIGKILL');
    expect(await doomed.ended()).toBe('SIGKILL');
    running.delete(doomed);
    start();
    await put(part(3));
    await put(part(4));

    const events = await scoredAtLeast(rows.length);
    expectEachScored(events, rows, wanted);
    expect(await kinesis.read(names.dead)).toEqual([]);
    for (const weir of running) weir.kill('SIGTERM');
    for (const weir of running) expect(await weir.ended()).toBe(0);
    running.clear();
  }, 900_000);
});

/** Each transaction once or more; more only with the same event id, and the same customer features. */
function expectEachScored(
  events: readonly Scored[],
  rows: readonly HandbookRow[],
  wanted: ReadonlyMap<string, Record<string, number>>,
): void {
  const ids = new Map<string, string>();
  const faults: string[] = [];
  for (const { id, data } of events) {
    const { transaction_id, features } = data;
    const known = ids.get(transaction_id) ?? id;
    ids.set(transaction_id, known);
    if (known !== id) faults.push(`transaction ${transaction_id} is ${known} and ${id}`);
    faults.push(...differences(transaction_id, features, wanted.get(transaction_id)!, 'customer.'));
  }
  expect(faults.slice(0, 5)).toEqual([]);
  expect(ids.size).toBe(rows.length);
  expect(new Set(ids.values()).size).toBe(rows.length);
}
