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
import { type Ended, ended, endedWell } from '../support/suite.ts';
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

interface Ends {
  readonly source: object;
  readonly sink: object;
}

/** The Handbook job between other ends. */
function writeConfig(job: string, ends: Ends): string {
  const path = join(folder, `${job}.yaml`);
  const config = { ...parse(readFileSync('examples/handbook/kinesis.yaml', 'utf8')), ...ends, job };
  const models = join(process.cwd(), 'examples/handbook');
  config.model = { onnx: join(models, 'model.onnx'), manifest: join(models, 'model.json') };
  config.metrics = { port: 0 };
  writeFileSync(path, stringify(config));
  return path;
}

function startCommand(command: readonly string[], path: string): WeirProcess {
  const weir = startWeir([...command, '--config', path, '--set', 'log.level=warn'], {
    ...emulatorEnv,
    AWS_ENDPOINT_URL_KINESIS: services.kinesis.url,
    AWS_ENDPOINT_URL_DYNAMODB: services.dynamo.url,
    REDIS_URL: services.redis.url,
  });
  running.add(weir);
  return weir;
}

const start = (job: string, ends: Ends) => startCommand(['run'], writeConfig(job, ends));

async function run(command: readonly string[], path: string): Promise<Ended> {
  const weir = startCommand(command, path);
  const answer = await ended(weir);
  running.delete(weir);
  return answer;
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

describe('commands over a job with one end in Kafka and the other in Kinesis', () => {
  const broken = { key: 'broken', value: '{"half":' };

  async function expectListedOnly(path: string, stream: string): Promise<void> {
    const letters = endedWell(await run(['dlq', 'list', '--json'], path))
      .trimEnd()
      .split('\n');
    expect(letters.map((line) => JSON.parse(line))).toMatchObject([{ stream, reason: 'not-json', replayed: null }]);
    const { partition, offset } = JSON.parse(letters[0]);
    const shown = endedWell(await run(['dlq', 'show', String(partition), String(offset), '--json'], path));
    expect(JSON.parse(shown)).toMatchObject({ key: { text: broken.key }, value: { text: broken.value } });
    expect(await run(['dlq', 'list', '--partition', '9'], path)).toMatchObject({ code: 2 });
    expect(await run(['dlq', 'replay', '--all'], path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('this job has one in Kafka and the other in Kinesis'),
    });
  }

  it('list and show dead letters of a Kafka sink', async () => {
    await kinesis.createStream('odd-in', 1);
    for (const topic of ['odd-scored', 'odd-dead']) await kafka.createTopic(topic, 1);
    const brokers = [...services.kafka.brokers];
    const path = writeConfig('odd', {
      source: { kinesis: { stream: 'odd-in', application: 'odd', shard_sync_interval_ms: 1_000 } },
      sink: { kafka: { brokers, topic: 'odd-scored', dead_letters: 'odd-dead' } },
    });
    await kinesis.put('odd-in', [broken]);
    endedWell(await run(['run', '--until-end'], path));
    await expectListedOnly(path, 'odd-in');
    expect(await run(['backfill'], path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('needs a Kafka source, whose log it reads as a consumer group'),
    });
  }, 100_000);

  it('list and show dead letters of a Kinesis sink, and build state ahead of time', async () => {
    await kafka.createTopic('even-in', 2);
    for (const stream of ['even-scored', 'even-dead']) await kinesis.createStream(stream, 1);
    const brokers = [...services.kafka.brokers];
    const ends = {
      source: { kafka: { brokers, topic: 'even-in', group: 'even' } },
      sink: { kinesis: { stream: 'even-scored', dead_letters: 'even-dead' } },
    };
    const path = writeConfig('even', ends);
    await kafka.produce('even-in', [...rows.slice(0, 200).map(handbookRecord), broken]);
    endedWell(await run(['run', '--until-end'], path));
    await expectListedOnly(path, 'even-in');
    expect(await run(['offsets', 'show'], path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('weir fleet status shows the positions'),
    });

    const other = ['--set', 'event.time.allowed_lateness_ms=7200000'];
    const built = JSON.parse(endedWell(await run(['backfill', '--json', ...other], path)));
    expect(built.caught_up).toBe(true);
    const counts = (built.partitions as { events: number; left: number }[]).map(({ events, left }) => [events, left]);
    expect(counts.reduce((sum, [events]) => sum + events, 0)).toBe(200);
    expect(counts.every(([, left]) => left === 0)).toBe(true);
    // Of the state that the running job has there is nothing to be built.
    expect(endedWell(await run(['backfill'], path))).toContain('Nothing to do');
  }, 100_000);
});
