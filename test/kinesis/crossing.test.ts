import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { type AwsService, emulatorEnv, startDynamo, startKinesis } from '../../infra/services/aws.ts';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';
import { startWeir, type WeirProcess } from '../support/weir-process.ts';

let services: { kafka: KafkaService; redis: RedisService; kinesis: AwsService; dynamo: AwsService };
let kafka: TestKafka;
let kinesis: TestKinesis;
let folder: string;
let rows: HandbookRow[];
const running = new Set<WeirProcess>();

beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  folder = mkdtempSync(join(tmpdir(), 'weir-crossing-'));
  const started = [startKafka(), startRedis(), startKinesis(), startDynamo(), readHandbook(1_200)] as const;
  const [kafkaService, redis, kinesisService, dynamo, read] = await Promise.all(started);
  services = { kafka: kafkaService, redis, kinesis: kinesisService, dynamo };
  rows = read;
  kafka = testKafka(kafkaService.brokers);
  kinesis = testKinesis(kinesisService.url);
}, 240_000);

afterAll(async () => {
  for (const weir of running) weir.kill('SIGKILL');
  for (const weir of running) await weir.ended();
  kinesis?.close();
  await kafka?.close();
  await Promise.all(Object.values(services ?? {}).map((service) => service.stop()));
  rmSync(folder, { recursive: true, force: true });
});

/** The Handbook job between other ends. */
function start(job: string, ends: { readonly source: object; readonly sink: object }): WeirProcess {
  const path = join(folder, `${job}.yaml`);
  const config = { ...parse(readFileSync('examples/handbook/kinesis.yaml', 'utf8')), ...ends, job };
  const models = join(process.cwd(), 'examples/handbook');
  config.model = { onnx: join(models, 'model.onnx'), manifest: join(models, 'model.json') };
  config.metrics = { port: 0 };
  writeFileSync(path, stringify(config));
  const weir = startWeir(['run', '--config', path, '--set', 'log.level=warn'], {
    ...emulatorEnv,
    AWS_ENDPOINT_URL_KINESIS: services.kinesis.url,
    AWS_ENDPOINT_URL_DYNAMODB: services.dynamo.url,
    REDIS_URL: services.redis.url,
  });
  running.add(weir);
  return weir;
}

interface Scored {
  readonly id: string;
  readonly data: { readonly transaction_id: string; readonly features: Readonly<Record<string, number>> };
}

/**
 * Half of the rows, kill -9, and the rest to another process.
 * @param scored all risk events by now.
 */
async function crashHalfway(
  begin: () => WeirProcess,
  put: (part: readonly HandbookRow[]) => Promise<void>,
  scored: () => Promise<readonly Scored[]>,
): Promise<readonly Scored[]> {
  const until = async (count: number) => {
    for (;;) {
      const events = await scored();
      if (new Set(events.map(({ data }) => data.transaction_id)).size >= count) return events;
      for (const weir of running) if (weir.child.exitCode !== null) throw new Error(`weir ended: ${weir.stderr()}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  };
  const half = rows.length / 2;
  const doomed = begin();
  await put(rows.slice(0, half));
  await until(half / 2);
  doomed.kill('SIGKILL');
  running.delete(doomed);
  expect(await doomed.ended()).toBe('SIGKILL');
  await put(rows.slice(half));
  const heir = begin();
  const events = await until(rows.length);
  heir.kill('SIGTERM');
  expect(await heir.ended()).toBe(0);
  running.delete(heir);
  return events;
}

/** At least once, and whatever is repeated has the same id and customer features. */
function expectAtLeastOnce(events: readonly Scored[]): void {
  const wanted = bruteForceFeatures(rows);
  const idsOf = new Map<string, Set<string>>();
  const faults: string[] = [];
  for (const { id, data } of events) {
    const { transaction_id, features } = data;
    idsOf.set(transaction_id, (idsOf.get(transaction_id) ?? new Set()).add(id));
    faults.push(...differences(transaction_id, features, wanted.get(transaction_id)!, 'customer.'));
  }
  expect(faults.slice(0, 5)).toEqual([]);
  expect(idsOf.size).toBe(rows.length);
  expect([...idsOf.values()].filter((ids) => ids.size > 1)).toEqual([]);
}

describe('the Handbook job, at least once', () => {
  it('from Kinesis to Kafka', async () => {
    await kinesis.createStream('in', 2);
    for (const topic of ['scored', 'dead']) await kafka.createTopic(topic, 2);
    const brokers = [...services.kafka.brokers];
    const ends = {
      source: { kinesis: { stream: 'in', application: 'to-kafka', failover_time_ms: 2_000 } },
      sink: { kafka: { brokers, topic: 'scored', dead_letters: 'dead' } },
    };
    const events = await crashHalfway(
      () => start('to-kafka', ends),
      (part) => kinesis.put('in', part.map(handbookRecord)),
      async () =>
        (await kafka.readCommitted('scored')).map(({ headers, value }) => ({
          id: headers.ce_id,
          data: JSON.parse(value) as Scored['data'],
        })),
    );
    expectAtLeastOnce(events);
    expect(await kafka.readCommitted('dead')).toEqual([]);
  });

  it('from Kafka to Kinesis', async () => {
    await kafka.createTopic('transactions', 2);
    for (const stream of ['risk', 'letters']) await kinesis.createStream(stream, 2);
    const brokers = [...services.kafka.brokers];
    const ends = {
      source: { kafka: { brokers, topic: 'transactions', group: 'to-kinesis', session_timeout_ms: 6_000 } },
      sink: { kinesis: { stream: 'risk', dead_letters: 'letters' } },
    };
    const events = await crashHalfway(
      () => start('to-kinesis', ends),
      (part) => kafka.produce('transactions', part.map(handbookRecord)),
      async () => (await kinesis.read('risk')).map(({ value }) => JSON.parse(value) as Scored),
    );
    expectAtLeastOnce(events);
    expect(await kinesis.read('letters')).toEqual([]);
  });
});
