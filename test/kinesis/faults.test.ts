import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DynamoDBClient, PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import {
  DeregisterStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  PutRecordCommand,
  SplitShardCommand,
} from '@aws-sdk/client-kinesis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { exitCodeOf } from '../../cli/exit-codes.ts';
import { runJob } from '../../consumers/job.ts';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { describeError } from '../../runtime/errors.ts';
import { aggregate } from '../support/aggregate.ts';
import { type AwsFront, awsFront, denied } from '../support/aws-front.ts';
import { kclStages } from '../support/kcl.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';
import { memoryJob, quietSurroundings } from '../support/memory-stream.ts';

let services: readonly [AwsService, AwsService];
let kinesis: TestKinesis;
let dynamo: DynamoDBClient;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  services = await Promise.all([startKinesis(), startDynamo()]);
  kinesis = testKinesis(services[0].url);
  dynamo = new DynamoDBClient({ endpoint: services[1].url });
});
afterAll(async () => {
  kinesis.close();
  dynamo.destroy();
  await Promise.all(services.map((service) => service.stop()));
});

/** A stream with its job, whose requests go by way of fronts. */
interface Place {
  readonly stream: string;
  readonly kinesisFront: AwsFront;
  readonly dynamoFront: AwsFront;
  readonly folder: string;
}

let place: Place;
let running: Running[];
let places = 0;
beforeEach(async () => {
  running = [];
  const stream = `faults-${process.pid}-${places++}`;
  const [kinesisFront, dynamoFront] = await Promise.all(services.map(awsFront));
  place = { stream, kinesisFront, dynamoFront, folder: mkdtempSync(join(tmpdir(), 'weir-faults-')) };
});
afterEach(async () => {
  for (const { stopping, end } of running) {
    stopping.abort();
    await end;
  }
  await Promise.all([place.kinesisFront.close(), place.dynamoFront.close()]);
  rmSync(place.folder, { recursive: true, force: true });
});

async function createStreams(): Promise<void> {
  await Promise.all([place.stream, scored(), dead()].map((name) => kinesis.createStream(name, 1)));
}
const scored = () => `${place.stream}-scored`;
const dead = () => `${place.stream}-dead`;

interface Running {
  readonly stopping: AbortController;
  /** The error that ended it; undefined where it was stopped. */
  readonly end: Promise<unknown>;
}

interface Settings {
  readonly source?: object;
  readonly sink?: object;
  readonly event?: object;
  readonly features?: readonly object[];
}

function start({ source, sink, event, features }: Settings = {}): Running {
  const { stream, folder } = place;
  const job = memoryJob({
    source: {
      kinesis: {
        stream,
        application: stream,
        endpoint: place.kinesisFront.url,
        dynamodb_endpoint: place.dynamoFront.url,
        failover_time_ms: 10_000,
        shard_sync_interval_ms: 1_000,
        checkpoint_interval_ms: 0,
        poll_interval_ms: 200,
        ...source,
      },
    },
    event: { ...eventSection, ...event },
    ...(features && { features }),
    sink: { kinesis: { stream: scored(), dead_letters: dead(), ...sink } },
    state: { embedded: { path: join(folder, `state-${running.length}`) }, flush_interval_ms: 0 },
  });
  const stopping = new AbortController();
  const ended = runJob(job, { ...quietSurroundings(), untilEnd: false, signal: stopping.signal });
  const one = {
    stopping,
    end: ended.then(
      () => undefined,
      (error: unknown) => error,
    ),
  };
  running.push(one);
  return one;
}

const eventSection = {
  id: '$.id',
  time: { path: '$.ts', unit: 'ms' },
  kind: { const: 'authorization' },
  fields: { amount: { path: '$.amount', type: 'money', scale: 2 } },
  entities: { card: { key: '$.card' }, shop: { key: '$.shop', optional: true } },
  key: 'card',
};

const transaction = (n: number) => ({
  key: `c${n % 7}`,
  value: JSON.stringify({ id: `t${n}`, ts: 1e12 + n, amount: 1, card: `c${n % 7}` }),
});
const transactions = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => transaction(from + index));

async function scoredIds(): Promise<Set<string>> {
  const records = await kinesis.read(scored());
  return new Set(records.map(({ value }) => JSON.parse(value).data.transaction_id as string));
}

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}

async function expectEnd({ end }: Running, exitCode: number, ...texts: readonly (string | RegExp)[]): Promise<void> {
  const error = await end;
  const text = describeError(error);
  for (const wanted of texts) expect(text).toMatch(wanted);
  expect({ text, exitCode: exitCodeOf(error) }).toEqual({ text, exitCode });
}

/** Once the fault is mended, a job that is started anew scores all that there was. */
async function expectNothingLost(count: number, settings?: Settings): Promise<void> {
  start(settings);
  await until(async () => (await scoredIds()).size === count);
}

const records = 20;

describe('a permission that is missing', () => {
  const kinesisAtStart = [
    'ListShards',
    'DescribeStreamSummary',
    'GetShardIterator',
    'GetRecords',
    'PutRecords',
  ] as const;
  const fanOut = ['DescribeStreamConsumer', 'RegisterStreamConsumer', 'SubscribeToShard'] as const;
  const dynamoAtStart = ['DescribeTable', 'CreateTable', 'Scan', 'GetItem', 'PutItem', 'UpdateItem'] as const;

  it.each([...kinesisAtStart, ...fanOut])('ends the job and names kinesis:%s', async (operation) => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const isFanOut = fanOut.some((one) => one === operation);
    const settings = isFanOut ? { source: { fan_out: { consumer: 'weir' } } } : {};
    place.kinesisFront.answer(operation, denied('kinesis', operation));
    await expectEnd(
      start(settings),
      2,
      `allow kinesis:${operation} in its policy`,
      'arn:aws:iam::123456789012:user/weir',
    );
    expect(place.kinesisFront.calls[operation]).toBe(1);

    place.kinesisFront.answer(operation, undefined);
    await expectNothingLost(records);
  });

  it.each(dynamoAtStart)('ends the job and names dynamodb:%s', async (operation) => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    place.dynamoFront.answer(operation, denied('dynamodb', operation));
    await expectEnd(start(), 2, `allow dynamodb:${operation} in its policy`, `lease table ${place.stream}`);
    expect(place.dynamoFront.calls[operation]).toBe(1);

    place.dynamoFront.answer(operation, undefined);
    await expectNothingLost(records);
  });

  it('ends the job at once when it is withdrawn while leases are held', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const one = start();
    await until(async () => (await scoredIds()).size === records);
    const before = place.dynamoFront.calls.UpdateItem;
    place.dynamoFront.answer('UpdateItem', denied('dynamodb', 'UpdateItem'));
    await expectEnd(one, 2, 'allow dynamodb:UpdateItem in its policy');
    // A checkpoint and a renewal, whichever are due, and giving the lease up.
    expect(place.dynamoFront.calls.UpdateItem - before).toBeLessThanOrEqual(3);
  });

  it('ends the job and names dynamodb:DeleteItem when a lease has served its turn', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    place.dynamoFront.answer('DeleteItem', denied('dynamodb', 'DeleteItem'));
    const one = start();
    await until(async () => (await scoredIds()).size === records);
    await kinesis.client.send(
      new SplitShardCommand({
        StreamName: place.stream,
        ShardToSplit: 'shardId-000000000000',
        NewStartingHashKey: String(2n ** 127n),
      }),
    );
    await until(async () => await hasTwoOpenShards());
    await kinesis.put(place.stream, transactions(records, 2 * records));
    await expectEnd(one, 2, 'allow dynamodb:DeleteItem in its policy');
    expect(place.dynamoFront.calls.DeleteItem).toBe(1);

    place.dynamoFront.answer('DeleteItem', undefined);
    await expectNothingLost(2 * records);
  });
});

async function hasTwoOpenShards(): Promise<boolean> {
  const leases = await dynamo.send(new ScanCommand({ TableName: place.stream }));
  return (leases.Items ?? []).length === 3;
}

describe('a wrong region', () => {
  it('is told apart from a stream that is missing: the credentials are not known there', async () => {
    const error = {
      type: 'UnrecognizedClientException',
      message: 'The security token included in the request is invalid.',
    };
    place.kinesisFront.answer('DescribeStreamSummary', error);
    await expectEnd(start(), 2, /does not know these credentials; check AWS_ACCESS_KEY_ID or the role, and the region/);
    expect(place.kinesisFront.calls).toEqual({ DescribeStreamSummary: 1 });
  });

  it('says that no such host is known', async () => {
    await createStreams();
    // Names below .invalid are never resolved.
    const endpoint = 'http://kinesis.eu-centrall-1.invalid';
    const one = start({ source: { endpoint }, sink: { endpoint: services[0].url } });
    await expectEnd(
      one,
      4,
      'Kinesis was not found while listing',
      'kinesis.eu-centrall-1.invalid',
      'check region and endpoint',
    );
  });

  it('says in which region there is no such stream, and makes no lease table', async () => {
    await Promise.all([scored(), dead()].map((name) => kinesis.createStream(name, 1)));
    await expectEnd(start(), 3, `stream ${place.stream} does not exist in us-east-1`, 'aws kinesis create-stream');
    expect(place.kinesisFront.calls.ListShards).toBe(1);
    expect(place.dynamoFront.calls).toEqual({});
  });

  it("says which of the sink's streams is missing", async () => {
    await kinesis.createStream(place.stream, 1);
    await expectEnd(start(), 7, `a stream of sink.kinesis does not exist`, scored());
    expect(place.kinesisFront.calls).toEqual({ DescribeStreamSummary: 1 });
  });
});

describe('a stream that is deleted while it is read', () => {
  it.each([
    ['by polling', undefined],
    ['by fan-out', { consumer: 'weir' }],
  ])('ends the job, %s', async (_, fan_out) => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const one = start({ source: { fan_out } });
    await until(async () => (await scoredIds()).size === records);
    const { calls } = place.kinesisFront;
    const asked = () => calls.ListShards + (calls.SubscribeToShard ?? 0);
    const before = asked();
    await kinesis.deleteStream(place.stream);
    await expectEnd(one, 3, `stream ${place.stream} does not exist in us-east-1`);
    expect(asked() - before).toBeLessThan(60);
  });

  it('goes on when only its fan-out consumer is deleted: that is registered anew', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    start({ source: { fan_out: { consumer: 'weir' } } });
    await until(async () => (await scoredIds()).size === records);
    const { StreamDescriptionSummary } = await kinesis.client.send(
      new DescribeStreamSummaryCommand({ StreamName: place.stream }),
    );
    const of = { StreamARN: StreamDescriptionSummary!.StreamARN, ConsumerName: 'weir' };
    await kinesis.client.send(new DeregisterStreamConsumerCommand(of));
    const before = place.kinesisFront.calls.RegisterStreamConsumer;
    // The emulator lets a subscription go on without its consumer; AWS ends each after five minutes at most.
    place.kinesisFront.cut('SubscribeToShard');
    await kinesis.put(place.stream, transactions(records, 2 * records));
    await until(async () => (await scoredIds()).size === 2 * records);
    expect(place.kinesisFront.calls.RegisterStreamConsumer).toBe(before + 1);
  });

  it('ends the job when it was an output', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const one = start();
    await until(async () => (await scoredIds()).size === records);
    await kinesis.deleteStream(scored());
    await kinesis.put(place.stream, transactions(records, 2 * records));
    await expectEnd(one, 7, 'a stream of sink.kinesis does not exist');

    await until(() =>
      kinesis.createStream(scored(), 1).then(
        () => true,
        () => false,
      ),
    );
    start();
    // What was published before went with the stream.
    await until(async () => (await scoredIds()).size === records);
    expect([...(await scoredIds())].sort()).toEqual(
      transactions(records, 2 * records)
        .map(({ value }) => JSON.parse(value).id)
        .sort(),
    );
  });
});

describe("another application's lease table", () => {
  it('is left as it is when it holds foreign items', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, 1));
    const first = start();
    await until(async () => (await scoredIds()).size === 1);
    first.stopping.abort();
    await first.end;
    await putItem({ leaseKey: { S: 'order-7' }, price: { N: '3' } });
    const items = await itemsOf();
    const writes = writesSoFar();
    await expectEnd(
      start(),
      3,
      `the lease table ${place.stream} holds the item order-7, which is no lease`,
      'name another lease_table',
    );
    expect(await itemsOf()).toEqual(items);
    expect(writesSoFar()).toBe(writes);
  });

  it('is left to a leader of KCL 3.x that comes while weir works', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const one = start();
    await until(async () => (await scoredIds()).size === records);
    const { items } = kclStages.find(({ version }) => version === '3.5.1-3x')!;
    await putItem(items.find(({ entityType }) => entityType.S === 'LEADER')!);
    await expectEnd(
      one,
      3,
      'has a leader of the Kinesis Client Library 3.x',
      'CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X',
    );
    // Its own leases are given up, for the leader to assign.
    expect((await itemsOf()).filter(({ leaseOwner }) => leaseOwner !== undefined)).toEqual([]);
  });
});

const putItem = (Item: NonNullable<ConstructorParameters<typeof PutItemCommand>[0]['Item']>) =>
  dynamo.send(new PutItemCommand({ TableName: place.stream, Item }));

async function itemsOf() {
  return (await dynamo.send(new ScanCommand({ TableName: place.stream }))).Items ?? [];
}

function writesSoFar(): number {
  const { PutItem = 0, UpdateItem = 0, DeleteItem = 0 } = place.dynamoFront.calls;
  return PutItem + UpdateItem + DeleteItem;
}

describe('a record that cannot be read', () => {
  it('becomes a dead letter, whole, when its aggregate has a bad checksum; those around it are scored', async () => {
    await createStreams();
    const [first, second, third, fourth] = transactions(0, 4);
    const good = aggregate([first, second].map(({ key, value }) => ({ key, data: Buffer.from(value) })));
    const bad = aggregate([third].map(({ key, value }) => ({ key, data: Buffer.from(value) })));
    bad[bad.length - 1] ^= 1;
    for (const Data of [good, bad, Buffer.from(fourth.value)]) {
      await kinesis.client.send(new PutRecordCommand({ StreamName: place.stream, PartitionKey: 'c', Data }));
    }
    start();
    await until(async () => (await scoredIds()).size === 3 && (await kinesis.read(dead())).length === 1);
    expect([...(await scoredIds())].sort()).toEqual(['t0', 't1', 't3']);
    const [letter] = await kinesis.read(dead());
    const { reason, value, encoding } = JSON.parse(letter.value);
    expect(reason).toBe('not-json');
    expect(Buffer.from(value, encoding)).toEqual(bad);
  });

  it('becomes a dead letter, cut to what a record holds, when it is longer than event.max_bytes', async () => {
    await createStreams();
    const long = JSON.stringify({ ...JSON.parse(transaction(0).value), note: 'x'.repeat(1_048_570 - 80) });
    await kinesis.put(place.stream, [{ key: 'c0', value: long }, ...transactions(1, 3)]);
    start({ event: { max_bytes: 100_000 } });
    await until(async () => (await scoredIds()).size === 2 && (await kinesis.read(dead())).length === 1);
    const [letter] = await kinesis.read(dead());
    expect(JSON.parse(letter.value)).toMatchObject({ reason: 'oversized', truncated_from: long.length });
    expect(letter.key.length + Buffer.byteLength(letter.value)).toBeLessThanOrEqual(1_048_576);
  });
});

describe('a risk event that is too long for a record', () => {
  it('ends the job and names the event; nothing behind it is published, and all of it once there is room', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, 5));
    const aggregates = ['sum', 'mean', 'min', 'max', 'stddev'];
    const windows = Array.from({ length: 90 }, (_, index) => `${index + 1}d`);
    const features = [{ entity: 'card', windows, aggregates: aggregates.map((name) => `${name}(amount)`) }];
    const one = start({ features, sink: { max_record_bytes: 10_000 } });
    await expectEnd(one, 7, `${place.stream}:0:`, 'more than sink.kinesis.max_record_bytes, 10000', 'raise it');
    expect(await scoredIds()).toEqual(new Set());
    await expectNothingLost(5, { features });
  });

  it('ends the job when Kinesis says that its stream allows less than the config', async () => {
    await createStreams();
    await kinesis.put(place.stream, transactions(0, records));
    const message = 'Record size exceeds the maximum record size of stream';
    place.kinesisFront.answer('PutRecords', { type: 'InvalidArgumentException', message });
    await expectEnd(start(), 2, 'Kinesis refuses the records', 'max_record_bytes', message);
    expect(place.kinesisFront.calls.PutRecords).toBe(1);
    place.kinesisFront.answer('PutRecords', undefined);
    await expectNothingLost(records);
  });
});
