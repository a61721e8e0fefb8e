import { expect } from '@jest/globals';
import type { KafkaService, RedisService } from '../../infra/services/start.ts';
import { differences, type HandbookRow } from './handbook.ts';
import type { TestKafka, TopicRecord } from './kafka.ts';

export const partitions = 4;

export interface PublishedRecord extends TopicRecord {
  readonly data: {
    readonly transaction_id: string;
    readonly features: Readonly<Record<string, number>>;
    readonly feature_state: Readonly<Record<string, string>>;
    readonly source_position: { readonly partition: number; readonly offset: number };
  };
}

/** The Handbook job over topics of its own: `{name}.in`, `.scored` and `.dead`. */
export interface HandbookJob {
  /** Arguments of the command that runs it. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Sends rows as JSON records keyed by customer. @param partitionOf where they go to, if not by their key's hash. */
  produce(rows: readonly HandbookRow[], partitionOf?: (row: HandbookRow) => number): Promise<void>;
  /** All risk events that a read_committed consumer sees. */
  published(): Promise<PublishedRecord[]>;
  waitForPublished(count: number): Promise<void>;
  deadLetters(): Promise<TopicRecord[]>;
}

export type JobSettings = Readonly<Record<string, string | number>>;

/** For tests in which a process dies or stands still, and others are to have its partitions soon. */
export const noticesTheDeadSoon: JobSettings = { 'source.kafka.session_timeout_ms': 6_000 };

/** @param settings keys of the config with their values; they win over those of the example and of the tests. */
export async function createHandbookJob(
  name: string,
  kafka: TestKafka,
  services: { readonly kafka: KafkaService; readonly redis: RedisService },
  settings: JobSettings = {},
): Promise<HandbookJob> {
  const [input, scored, dead] = [`${name}.in`, `${name}.scored`, `${name}.dead`];
  for (const topic of [input, scored, dead]) await kafka.createTopic(topic, partitions);
  const all = {
    job: name,
    'source.kafka.topic': input,
    'source.kafka.group': name,
    // Nobody is taken for dead who stands still because the machine does.
    'source.kafka.session_timeout_ms': 60_000,
    'state.redis.command_timeout_ms': 60_000,
    'sink.kafka.topic': scored,
    'sink.kafka.dead_letters': dead,
    'metrics.port': 0,
    'log.level': 'warn',
    ...settings,
  };
  const overrides = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return {
    args: ['run', '--config', 'examples/handbook/kafka.yaml', ...overrides],
    env: { KAFKA_BROKERS: services.kafka.brokers.join(','), REDIS_URL: services.redis.url },
    produce: (rows, partitionOf) =>
      kafka.produce(
        input,
        rows.map((row) => ({ ...handbookRecord(row), partition: partitionOf?.(row) })),
      ),
    async published() {
      const records = await kafka.readCommitted(scored);
      return records.map((record) => ({ ...record, data: JSON.parse(record.value) as PublishedRecord['data'] }));
    },
    waitForPublished: (count) => kafka.waitForCommitted(scored, count),
    deadLetters: () => kafka.readCommitted(dead),
  };
}

export function handbookRecord({ transaction_id, ts_ms, customer_id, terminal_id, amountMinor, fraud }: HandbookRow) {
  const amount = (amountMinor / 100).toFixed(2);
  return {
    key: customer_id,
    value: JSON.stringify({ transaction_id, ts_ms, customer_id, terminal_id, amount, fraud }),
  };
}

/** Every transaction once, in input order per partition, with customer features equal to brute force. */
export function expectExactlyOnce(
  records: readonly PublishedRecord[],
  rows: readonly HandbookRow[],
  wanted: ReadonlyMap<string, Record<string, number>>,
): void {
  const ids = records.map(({ data }) => data.transaction_id);
  expect({ distinct: new Set(ids).size, all: ids.length }).toEqual({ distinct: rows.length, all: rows.length });
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
