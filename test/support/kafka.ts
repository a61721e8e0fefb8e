import { setTimeout as delay } from 'node:timers/promises';
import type { EachBatchPayload, KafkaMessage } from 'kafkajs';
import { plainKafka } from '../../runtime/kafka-client.ts';

export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly value: string;
  readonly headers: Record<string, string>;
  /** When its producer made it, ms since the epoch. */
  readonly timestamp: number;
}

export interface TestKafka {
  /** @param replicas 1 unless stated. */
  createTopic(topic: string, partitions: number, replicas?: number): Promise<void>;
  /** Sends keyed records in order; where they name no partition, the default partitioner spreads them by key. */
  produce(topic: string, records: readonly { key: string; value: string; partition?: number }[]): Promise<void>;
  /** Deletes all that the topic has now, as its retention does in time. */
  deleteRecords(topic: string): Promise<void>;
  /** All records of a topic as a read_committed consumer sees them, in partition order. */
  readCommitted(topic: string): Promise<TopicRecord[]>;
  /** Waits until a read_committed consumer has seen at least so many records of the topic. */
  waitForCommitted(topic: string, count: number): Promise<void>;
  /** How many records a read_committed consumer sees, and when the first and the last were created, ms since the epoch. */
  times(topic: string): Promise<{ count: number; first: number; last: number }>;
  close(): Promise<void>;
}

export function testKafka(brokers: readonly string[]): TestKafka {
  const kafka = plainKafka({ clientId: 'test', brokers: [...brokers] });
  const admin = kafka.admin();
  const connected = admin.connect();
  let groups = 0;

  /** Hands every record of the topic, from the beginning, to `see` until that answers true. */
  async function scan(topic: string, see: (partition: number, message: KafkaMessage) => boolean): Promise<void> {
    await connected;
    const groupId = `test-reader-${process.pid}-${performance.timeOrigin}-${groups++}`;
    const consumer = kafka.consumer({ groupId, readUncommitted: false, maxWaitTimeInMs: 50 });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    let isDone = false;
    /** A consumer that begins again, or rebalances, comes with the same records once more. */
    const reached = new Map<number, bigint>();
    await new Promise<void>((resolve, reject) => {
      // A coordinator that is still loading, say, is no reason to give up: the client begins again by itself.
      consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
      const eachBatch = async ({ batch }: EachBatchPayload) => {
        for (const message of batch.messages) {
          const offset = BigInt(message.offset);
          if (offset <= (reached.get(batch.partition) ?? -1n)) continue;
          reached.set(batch.partition, offset);
          isDone ||= see(batch.partition, message);
        }
        if (isDone) resolve();
      };
      consumer.run({ autoCommit: false, eachBatch }).catch(reject);
    });
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined);
  }

  /** Every record that is committed now, but for the markers that this function puts behind them to know when to stop. */
  async function scanCommitted(topic: string, see: (partition: number, message: KafkaMessage) => void): Promise<void> {
    await connected;
    const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
    const partitions = metadata.topics[0].partitions.map(({ partitionId }) => partitionId);
    const marker = `end-${groups++}`;
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({
      topic,
      messages: partitions.map((partition) => ({ partition, key: marker, value: marker })),
    });
    await producer.disconnect();
    let ended = 0;
    await scan(topic, (partition, message) => {
      const key = message.key?.toString();
      if (key === marker) ended++;
      else if (!key?.startsWith('end-')) see(partition, message);
      return ended === partitions.length;
    });
  }

  /** Until whichever broker is asked knows a leader of each partition: several times in a row, since each answer is one broker's. */
  async function untilKnown(topic: string): Promise<void> {
    for (let inRow = 0; inRow < 5; ) {
      const found = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => undefined);
      const isKnown = found?.topics[0].partitions.every(({ leader }) => leader >= 0) ?? false;
      inRow = isKnown ? inRow + 1 : 0;
      if (!isKnown) await delay(50);
    }
  }

  return {
    async createTopic(topic, partitions, replicas = 1) {
      await connected;
      await admin.createTopics({
        topics: [{ topic, numPartitions: partitions, replicationFactor: replicas }],
        // The client would take a broker that has not heard of the topic yet for one that never will.
        waitForLeaders: false,
      });
      await untilKnown(topic);
    },
    async produce(topic, records) {
      // Idempotent: a record sent again after a broker's restart must not stand in the topic twice.
      const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
      await producer.connect();
      for (let from = 0; from < records.length; from += 2000) {
        await producer.send({ topic, messages: records.slice(from, from + 2000) });
      }
      await producer.disconnect();
    },
    async deleteRecords(topic) {
      await connected;
      const partitions = (await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => ({
        partition,
        offset: high,
      }));
      await admin.deleteTopicRecords({ topic, partitions });
    },
    async readCommitted(topic) {
      const records: TopicRecord[] = [];
      await scanCommitted(topic, (partition, { key, value, offset, headers, timestamp }) => {
        records.push({
          partition,
          offset: Number(offset),
          key: key === null ? null : key.toString(),
          value: value === null ? '' : value.toString(),
          headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])),
          timestamp: Number(timestamp),
        });
      });
      return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
    },
    async waitForCommitted(topic, count) {
      let seen = 0;
      await scan(topic, () => ++seen >= count);
    },
    async times(topic) {
      const times = { count: 0, first: Number.POSITIVE_INFINITY, last: Number.NEGATIVE_INFINITY };
      await scanCommitted(topic, (_partition, { timestamp }) => {
        times.count++;
        times.first = Math.min(times.first, Number(timestamp));
        times.last = Math.max(times.last, Number(timestamp));
      });
      return times;
    },
    async close() {
      await connected;
      await admin.disconnect();
    },
  };
}
