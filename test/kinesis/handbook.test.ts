import {
  ListShardsCommand,
  type ListShardsCommandOutput,
  MergeShardsCommand,
  PutRecordCommand,
  SplitShardCommand,
} from '@aws-sdk/client-kinesis';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { hashFilter } from '../../consumers/kinesis/hash-range.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { aggregate } from '../support/aggregate.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord, type PublishedRecord } from '../support/handbook-job.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';
import { begun } from '../support/suite.ts';
import { startWeir, type WeirProcess } from '../support/weir-process.ts';

/** `npm run kinesis-handbook` takes 100,000. */
const rowCount = Number(process.env.WEIR_TEST_KINESIS_ROWS ?? 6_000);
/** The emulator takes ever longer for a record the more its shard has. */
const scoredShards = Math.ceil(rowCount / 3_000);

let input: AwsService;
let output: AwsService;
let dynamo: AwsService;
let redis: RedisService;
let kinesis: TestKinesis;
let scored: TestKinesis;
const running = new Set<WeirProcess>();

beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  // One for each end: an emulator uses no more than one core.
  [input, output, dynamo, redis] = await Promise.all([startKinesis(), startKinesis(), startDynamo(), startRedis()]);
  kinesis = testKinesis(input.url);
  scored = testKinesis(output.url);
}, 120_000);

afterAll(async () => {
  for (const weir of running) weir.kill('SIGKILL');
  for (const weir of running) await weir.ended();
  kinesis?.close();
  scored?.close();
  await Promise.all([input?.stop(), output?.stop(), dynamo?.stop(), redis?.stop()]);
});

const names = { in: 'transactions', scored: 'risk-scored', dead: 'risk-dead-letters' };

function start(): WeirProcess {
  const settings = {
    'metrics.port': 0,
    'log.level': 'info',
    'source.kinesis.failover_time_ms': 4_000,
    'sink.kinesis.endpoint': output.url,
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const weir = startWeir(['run', '--config', 'examples/handbook/kinesis.yaml', ...overrides], {
    ...emulatorEnv,
    AWS_ENDPOINT_URL_KINESIS: input.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    REDIS_URL: redis.url,
  });
  running.add(weir);
  return weir;
}

interface Scored {
  readonly id: string;
  readonly data: PublishedRecord['data'] & { readonly feature_state: Readonly<Record<string, string>> };
}

/** Waits until so many different transactions are scored; gives all events so far. */
function watchScored(): (count: number) => Promise<readonly Scored[]> {
  const more = scored.follow(names.scored);
  const events: Scored[] = [];
  const transactions = new Set<string>();
  return async (count) => {
    for (;;) {
      for (const { value } of await more()) {
        const event = JSON.parse(value) as Scored;
        events.push(event);
        transactions.add(event.data.transaction_id);
      }
      if (transactions.size >= count) return events;
      for (const weir of running) if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
      await new Promise((resolve) => setTimeout(resolve, 50 * scoredShards + 300));
    }
  };
}

async function openShards(): Promise<NonNullable<ListShardsCommandOutput['Shards']>> {
  const { Shards } = await kinesis.client.send(new ListShardsCommand({ StreamName: names.in }));
  return (Shards ?? []).filter(({ SequenceNumberRange }) => SequenceNumberRange!.EndingSequenceNumber === undefined);
}

const perAggregate = 50;

/** Puts the rows as the Kinesis Producer Library does: some of a shard's user records in one of its records. Nobody may split or merge meanwhile. */
async function putAggregated(rows: readonly HandbookRow[]): Promise<void> {
  const records = rows.map(handbookRecord);
  for (const { HashKeyRange } of await openShards()) {
    const { StartingHashKey: start, EndingHashKey: end } = HashKeyRange!;
    const isOfShard = hashFilter({ start: start!, end: end! });
    const users = records
      .filter(({ key }) => isOfShard!.hasKey(Buffer.from(key)))
      .map(({ key, value }) => ({ key, data: Buffer.from(value) }));
    for (let from = 0; from < users.length; from += perAggregate) {
      const Data = aggregate(users.slice(from, from + perAggregate));
      const record = { StreamName: names.in, PartitionKey: 'aggregated', ExplicitHashKey: start, Data };
      await kinesis.client.send(new PutRecordCommand(record));
    }
  }
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
    await scored.createStream(names.scored, scoredShards);
    await scored.createStream(names.dead, 1);
    const fifth = Math.ceil(rows.length / 5);
    const part = (n: number) => rows.slice(n * fifth, (n + 1) * fifth);

    const scoredAtLeast = watchScored();
    const doomed = start();
    start();
    await kinesis.put(names.in, part(0).map(handbookRecord));
    await splitFirst();
    await putAggregated(part(1));
    await scoredAtLeast(fifth);
    await putAggregated(part(2));
    await mergeLast();
    doomed.kill('SIGKILL');
    expect(await doomed.ended()).toBe('SIGKILL');
    running.delete(doomed);
    start();
    await putAggregated(part(3));
    await putAggregated(part(4));

    const events = await scoredAtLeast(rows.length);
    expectEachScored(events, rows, wanted);
    // Four, two that came of the split, and one of the merge.
    const shards = new Set(events.map(({ data }) => data.source_position.partition));
    expect([...shards].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(await scored.read(names.dead)).toEqual([]);
    // The last may have nothing to do before the others have done it all.
    for (const weir of running) await begun(weir);
    for (const weir of running) weir.kill('SIGTERM');
    for (const weir of running) expect(await weir.ended()).toBe(0);
    running.clear();
  }, 900_000);
});

/**
 * Each transaction once or more; more only with the same event id. Customer features are those of brute force in all of them, and terminal
 * features, which partitions share, wherever they are not marked.
 */
function expectEachScored(
  events: readonly Scored[],
  rows: readonly HandbookRow[],
  wanted: ReadonlyMap<string, Record<string, number>>,
): void {
  const ids = new Map<string, string>();
  const faults: string[] = [];
  for (const { id, data } of events) {
    const { transaction_id, features, feature_state } = data;
    const first = ids.get(transaction_id) ?? id;
    ids.set(transaction_id, first);
    if (first !== id) faults.push(`transaction ${transaction_id} is ${first} and ${id}`);
    const brute = wanted.get(transaction_id)!;
    const marked = Object.entries(feature_state).filter(([, state]) => state !== 'absent');
    const known = { ...brute, ...Object.fromEntries(marked.map(([name]) => [name, features[name]])) };
    faults.push(...differences(transaction_id, features, brute, 'customer.'));
    faults.push(...differences(transaction_id, features, known, 'terminal.'));
  }
  expect(faults.slice(0, 5)).toEqual([]);
  expect(ids.size).toBe(rows.length);
  expect(new Set(ids.values()).size).toBe(rows.length);
}
