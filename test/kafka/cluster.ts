import type { Admin, Consumer, EachBatchPayload, Kafka, Producer } from 'kafkajs';
import {
  type KafkaSourceConfig,
  kafkaSinkConfig,
  kafkaSourceConfig,
  sinkConnection,
} from '../../consumers/kafka/config.ts';
import { createKafkaSink, type KafkaSink, type KafkaSinkOptions } from '../../consumers/kafka/sink.ts';
import type { KafkaOptions, KafkaService } from '../../infra/services/start.ts';
import { startKafka } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { plainKafka } from '../../runtime/kafka-client.ts';

/** A broker of its own for one test file, and plain clients to look at it from outside. */
export interface Cluster {
  readonly service: KafkaService;
  readonly brokers: string[];
  readonly admin: Admin;
  topic(partitions?: number): Promise<string>;
  producer(transactionalId?: string): Promise<Producer>;
  /** All that a read_committed consumer sees by now, in order of partition and offset. */
  read(topic: string): Promise<SeenRecord[]>;
  stop(): Promise<void>;
}

export interface SeenRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
}

const SENTINEL = 'sentinel of the reader';
let topics = 0;
let readers = 0;

/**
 * A broker that has just started elects the coordinators of groups and transactions when they are first asked for, and answers with passing
 * errors meanwhile: one transaction with a position gets that done before a test begins.
 */
async function settle(client: Kafka): Promise<void> {
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'settle', numPartitions: 1 }], waitForLeaders: true });
  await admin.disconnect();
  for (;;) {
    const producer = client.producer({ transactionalId: 'settle', retry: { initialRetryTime: 20, retries: 20 } });
    try {
      await producer.connect();
      const transaction = await producer.transaction();
      await transaction.send({ topic: 'settle', messages: [{ value: '' }] });
      const topics = [{ topic: 'settle', partitions: [{ partition: 0, offset: '0' }] }];
      await transaction.sendOffsets({ consumerGroupId: 'settle', topics });
      return await transaction.commit();
    } catch (error) {
      if (!(error as { retriable?: boolean }).retriable && !/oordinator|topic-partition/.test(String(error)))
        throw error;
    } finally {
      await producer.disconnect();
    }
  }
}

export async function startCluster(options: KafkaOptions = {}): Promise<Cluster> {
  const service = await startKafka(options);
  const brokers = [...service.brokers];
  const client = plainKafka({ brokers, retry: { initialRetryTime: 20, retries: 20 } });
  const admin = client.admin();
  await admin.connect();
  await settle(client);
  const producers: Producer[] = [];
  return {
    service,
    brokers,
    admin,
    async topic(numPartitions = 1) {
      const topic = `topic-${process.pid}-${topics++}`;
      await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
      return topic;
    },
    async producer(transactionalId) {
      const producer = client.producer({ transactionalId, retry: { initialRetryTime: 5, retries: 20 } });
      producers.push(producer);
      await producer.connect();
      return producer;
    },
    async read(topic) {
      // A commit is acknowledged before its markers are written: a record of ours behind them, once visible, says that they are.
      const behind = client.producer();
      await behind.connect();
      const offsets = await admin.fetchTopicOffsets(topic);
      const messages = offsets.map(({ partition }) => ({ partition, key: SENTINEL, value: '' }));
      const sent = await behind.send({ topic, messages });
      await behind.disconnect();
      const ends = new Map(sent.map(({ partition, baseOffset }) => [partition, Number(baseOffset) + 1]));
      const groupId = `reader-${process.pid}-${readers++}`;
      const consumer = client.consumer({ groupId, maxWaitTimeInMs: 20 });
      try {
        return await readThrough(consumer, topic, ends);
      } finally {
        await consumer.disconnect();
      }
    },
    async stop() {
      await Promise.all(producers.map((producer) => producer.disconnect()));
      await admin.disconnect();
      await service.stop();
    },
  };
}

async function readThrough(consumer: Consumer, topic: string, ends: Map<number, number>): Promise<SeenRecord[]> {
  const records: SeenRecord[] = [];
  /** A consumer that begins again comes with the same records once more. */
  const reached = new Map<number, number>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      if (Number(payload.lastOffset) + 1 >= (ends.get(payload.partition) ?? 0)) ends.delete(payload.partition);
      if (ends.size === 0) resolve();
    });
    const eachBatch = async ({ batch: { partition, messages } }: EachBatchPayload) => {
      for (const { offset, key, value, headers } of messages) {
        if (Number(offset) <= (reached.get(partition) ?? -1)) continue;
        reached.set(partition, Number(offset));
        const texts = Object.entries(headers ?? {}).map(([name, bytes]) => [name, String(bytes)]);
        const seen = {
          partition,
          offset: Number(offset),
          key: key?.toString() ?? null,
          value: value && Buffer.from(value),
        };
        records.push({ ...seen, headers: Object.fromEntries(texts) });
      }
    };
    consumer.run({ autoCommit: false, eachBatch }).catch(reject);
  });
  const seen = records.filter(({ key }) => key !== SENTINEL);
  return seen.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}

/** The source's settings for tests: a member that stands still with the machine stays in its group, and one that gives up has waited long. */
export function sourceConfig(brokers: string[], topic: string, more: object = {}): KafkaSourceConfig {
  const times = { session_timeout_ms: 60_000, heartbeat_interval_ms: 100, max_wait_ms: 20, connect_timeout_ms: 60_000 };
  return kafkaSourceConfig.parse({ brokers, topic, group: `group-${topic}`, ...times, ...more });
}

/** A sink of its own to the topics, for input partitions of the source's cluster. */
export function sinkFor(
  source: KafkaSourceConfig,
  topics: { readonly topic: string; readonly dead_letters: string },
  more: Partial<KafkaSinkOptions> = {},
  settings: object = {},
): KafkaSink {
  const config = kafkaSinkConfig.parse({ topic: topics.topic, dead_letters: topics.dead_letters, ...settings });
  return createKafkaSink(config, {
    connection: sinkConnection(config, source)!,
    job: 'test-job',
    group: source.group,
    delivery: 'exactly-once',
    sourceIsKafka: true,
    clock: systemClock,
    ...more,
  });
}
