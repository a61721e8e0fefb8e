import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import {
  bruteForceFeatures,
  differences,
  type HandbookRow,
  handbookHeader,
  readHandbook,
} from '../support/handbook.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { runWeir, startWeir } from '../support/weir-process.ts';

const rowCount = 50_000;
const partitions = 4;

interface Published {
  readonly transaction_id: string;
  readonly features: Record<string, number>;
  readonly source_position: { partition: number; offset: number };
}

let rows: HandbookRow[];
let wanted: Map<string, Record<string, number>>;
let kafkaService: KafkaService;
let redis: RedisService;
let kafka: TestKafka;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-exactly-once-'));
  [rows, kafkaService, redis] = await Promise.all([readHandbook(rowCount), startKafka(), startRedis()]);
  wanted = bruteForceFeatures(rows);
  kafka = testKafka(kafkaService.brokers);
}, 240_000);

afterAll(async () => {
  await kafka?.close();
  await Promise.all([kafkaService?.stop(), redis?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Fills a topic with the rows, keyed by customer, and answers the command line of a job over it. */
async function makeJob(name: string): Promise<string[]> {
  for (const topic of [`${name}.in`, `${name}.scored`, `${name}.dead`]) await kafka.createTopic(topic, partitions);
  await kafka.produce(
    `${name}.in`,
    rows.map(({ transaction_id, ts_ms, customer_id, terminal_id, amountMinor, fraud }) => ({
      key: customer_id,
      value: JSON.stringify({
        transaction_id,
        ts_ms,
        customer_id,
        terminal_id,
        amount: (amountMinor / 100).toFixed(2),
        fraud,
      }),
    })),
  );
  const settings = {
    job: name,
    'source.kafka.topic': `${name}.in`,
    'source.kafka.group': name,
    'sink.kafka.topic': `${name}.scored`,
    'sink.kafka.dead_letters': `${name}.dead`,
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return ['run', '--config', 'examples/handbook/kafka.yaml', '--until-end', ...overrides];
}

const environment = () => ({ KAFKA_BROKERS: kafkaService.brokers.join(','), REDIS_URL: redis.url });

async function published(topic: string) {
  return (await kafka.readCommitted(topic)).map((record) => ({
    ...record,
    data: JSON.parse(record.value) as Published,
  }));
}

/** Every transaction once, in input order per partition, with customer features equal to brute force. */
function expectExactlyOnce(records: Awaited<ReturnType<typeof published>>) {
  const ids = records.map(({ data }) => data.transaction_id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBe(rows.length);
  const faults = records.flatMap(({ data }) =>
    differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'customer.'),
  );
  expect(faults.slice(0, 5)).toEqual([]);
  for (let partition = 0; partition < partitions; partition++) {
    const offsets = records
      .filter((record) => record.partition === partition)
      .map(({ data }) => data.source_position.offset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  }
}

describe('the Handbook job, exactly once', () => {
  it('gives the same features from a file, all 15 equal to brute force', async () => {
    const input = join(folder, 'handbook.csv');
    writeFileSync(input, `${handbookHeader}\n${rows.map(({ line }) => line).join('\n')}\n`);
    const output = join(folder, 'risk.jsonl');
    const { code, stderr } = await runWeir(
      [
        ...['run', '--config', 'examples/handbook/weir.yaml', '--until-end', '--json'],
        ...['--set', `state.embedded.path=${join(folder, 'state')}`],
        ...['--set', `sink.file.path=${output}`, '--set', `sink.file.dead_letters=${join(folder, 'dead.jsonl')}`],
      ],
      { HANDBOOK_CSV: input },
    );
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const events = readFileSync(output, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).data as Published);
    expect(events.map((event) => event.transaction_id)).toEqual(rows.map((row) => row.transaction_id));
    const faults = events.flatMap((event) =>
      differences(event.transaction_id, event.features, wanted.get(event.transaction_id)!),
    );
    expect(faults.slice(0, 5)).toEqual([]);
    expect(readFileSync(join(folder, 'dead.jsonl'), 'utf8')).toBe('');
  }, 300_000);

  it('gives the same customer features through four partitions, Redis and transactions', async () => {
    const args = await makeJob('whole');
    const { code, stderr } = await runWeir(args, environment());
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const records = await published('whole.scored');
    expectExactlyOnce(records);
    expect(await kafka.readCommitted('whole.dead')).toEqual([]);

    const ajv = new Ajv2020({ strict: false });
    (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
    const validate = ajv.compile(JSON.parse(readFileSync('docs/schemas/risk-event.schema.json', 'utf8')));
    for (const { data } of records)
      if (!validate(data)) throw new Error(`${data.transaction_id}: ${ajv.errorsText(validate.errors)}`);
    expect(records[0].headers).toMatchObject({
      ce_specversion: '1.0',
      ce_type: 'weir.risk.scored.v1',
      'content-type': 'application/json',
    });

    const bootstrap = ['--bootstrap-server', kafkaService.brokers[0], '--topic', 'whole.scored', '--from-beginning'];
    const printed = await kafkaService.consoleConsumer([
      ...bootstrap,
      '--max-messages',
      '100',
      '--isolation-level',
      'read_committed',
    ]);
    expect(
      printed
        .trim()
        .split('\n')
        .filter((line) => line.startsWith('{"')).length,
    ).toBe(100);
  }, 300_000);

  it('publishes each transaction once, with the same features, through three kill -9', async () => {
    const args = await makeJob('killed');
    for (const share of [0.15, 0.4, 0.7]) {
      const weir = startWeir(args, environment());
      const isThere = kafka.waitForCommitted('killed.scored', Math.floor(rows.length * share));
      await Promise.race([
        isThere,
        weir
          .ended()
          .then((code) => Promise.reject(new Error(`weir ended with ${code} before it was killed: ${weir.stderr()}`))),
      ]);
      weir.kill('SIGKILL');
      expect(await weir.ended()).toBe('SIGKILL');
    }
    const { code, stderr } = await runWeir(args, environment());
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expectExactlyOnce(await published('killed.scored'));
  }, 400_000);
});
