import { Kafka, logLevel } from 'kafkajs';

export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  readonly value: string;
  readonly headers: Record<string, string>;
}

export interface TestKafka {
  createTopic(topic: string, partitions: number): Promise<void>;
  /** Sends keyed records in order; the default partitioner spreads them by key. */
  produce(topic: string, records: readonly { key: string; value: string }[]): Promise<void>;
  /** All records of a topic as a read_committed consumer sees them, in partition order. */
  readCommitted(topic: string): Promise<TopicRecord[]>;
  /** Waits until a read_committed consumer has seen at least so many records of the topic. */
  waitForCommitted(topic: string, count: number): Promise<void>;
  close(): Promise<void>;
}

export function testKafka(brokers: readonly string[]): TestKafka {
  const kafka = new Kafka({ clientId: 'test', brokers: [...brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const connected = admin.connect();
  let groups = 0;
  let stopPolling = () => {};

  /** Reads from the beginning until `done` says so of what was read so far. */
  async function consume(topic: string, isDone: (records: TopicRecord[]) => Promise<boolean> | boolean): Promise<TopicRecord[]> {
    await connected;
    const groupId = `test-reader-${process.pid}-${Date.now()}-${groups++}`;
    const consumer = kafka.consumer({ groupId, readUncommitted: false, maxWaitTimeInMs: 50 });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    const records: TopicRecord[] = [];
    await new Promise<void>((resolve, reject) => {
      const poll = setInterval(() => {
        Promise.resolve(isDone(records)).then((done) => done && resolve(), reject);
      }, 100);
      consumer
        .run({
          autoCommit: false,
          eachBatch: async ({ batch }) => {
            for (const { key, value, offset, headers } of batch.messages) {
              records.push({
                partition: batch.partition,
                offset: Number(offset),
                key: key === null ? null : key.toString(),
                value: value === null ? '' : value.toString(),
                headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])),
              });
            }
          },
        })
        .catch(reject);
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      stopPolling = () => clearInterval(poll);
    }).finally(() => stopPolling());
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined);
    return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  return {
    async createTopic(topic, partitions) {
      await connected;
      await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }], waitForLeaders: true });
    },
    async produce(topic, records) {
      const producer = kafka.producer();
      await producer.connect();
      for (let from = 0; from < records.length; from += 2000) {
        await producer.send({ topic, messages: records.slice(from, from + 2000) });
      }
      await producer.disconnect();
    },
    async readCommitted(topic) {
      // A marker record per partition, behind everything committed so far, says when to stop.
      await connected;
      const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
      const partitions = metadata.topics[0].partitions.map(({ partitionId }) => partitionId);
      const marker = `end-${Date.now()}-${groups++}`;
      const producer = kafka.producer();
      await producer.connect();
      await producer.send({ topic, messages: partitions.map((partition) => ({ partition, key: marker, value: marker })) });
      await producer.disconnect();
      const records = await consume(topic, (seen) => seen.filter(({ key }) => key === marker).length === partitions.length);
      return records.filter(({ key }) => key === null || !key.startsWith('end-'));
    },
    async waitForCommitted(topic, count) {
      await consume(topic, (seen) => seen.length >= count);
    },
    async close() {
      await connected;
      await admin.disconnect();
    },
  };
}
