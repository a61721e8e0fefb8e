import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type KafkaService, type RedisService, startKafka, startRedis } from '../../infra/services/start.ts';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { createHandbookJob, expectExactlyOnce, type PublishedRecord } from '../support/handbook-job.ts';
import { type TestKafka, testKafka } from '../support/kafka.ts';
import { startWeir } from '../support/weir-process.ts';

/** Nine weeks of a tenth of the customers. */
const readRows = 600_000;

let rows: HandbookRow[];
let wanted: Map<string, Record<string, number>>;
let services: { kafka: KafkaService; redis: RedisService };
let kafka: TestKafka;

beforeAll(async () => {
  const [read, kafkaService, redis] = await Promise.all([readHandbook(readRows), startKafka(), startRedis()]);
  rows = read.filter(({ customer_id }) => Number(customer_id) % 10 === 0);
  services = { kafka: kafkaService, redis };
  wanted = bruteForceFeatures(rows);
  kafka = testKafka(kafkaService.brokers);
}, 240_000);

afterAll(async () => {
  await kafka?.close();
  await Promise.all([services?.kafka.stop(), services?.redis.stop()]);
});

/** Partitions of 5, 10, 25 and 60 % of the customers: read at one pace, they are soon weeks apart. */
function unevenPartition({ customer_id }: HandbookRow): number {
  const share = (Number(customer_id) / 10) % 20;
  return [1, 3, 8].filter((bound) => share >= bound).length;
}

/** Works the backlog off with two processes, the second of which comes when the first is under way. */
async function workOff(name: string, ...settings: string[]): Promise<PublishedRecord[]> {
  const job = await createHandbookJob(name, kafka, services);
  await job.produce(rows, unevenPartition);
  const args = [...job.args, '--until-end', ...settings.flatMap((setting) => ['--set', setting])];
  const first = startWeir(args, job.env);
  await job.waitForPublished(1_000);
  const second = startWeir(args, job.env);
  for (const weir of [first, second]) {
    const code = await weir.ended();
    expect({ code, stderr: code === 0 ? '' : weir.stderr() }).toEqual({ code: 0, stderr: '' });
  }
  const published = await job.published();
  expectExactlyOnce(published, rows, wanted);
  return published;
}

/** Events of which some feature of the terminal, delayed by a week, is not what brute force says. */
function wrongTerminals(published: readonly PublishedRecord[]): string[] {
  return published.flatMap(({ data }) =>
    differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'terminal.').slice(0, 1),
  );
}

describe('a backlog whose partitions are weeks apart, on two processes', () => {
  it('has in every event the delayed features of shared terminals that brute force says', async () => {
    expect(wrongTerminals(await workOff('in-step')).slice(0, 5)).toEqual([]);
  }, 300_000);

  it('has not, where each partition goes at its own pace', async () => {
    expect(wrongTerminals(await workOff('out-of-step', 'alignment=false')).length).toBeGreaterThan(0);
  }, 300_000);
});
